"""An objective applied to a batch: credit before the gradient, loss inside.

The loss stays f32[B, T] until one reduction; sums and counts travel apart to
the last division. Hence loss and gradient do not depend on how a batch is
split, padded, ordered or spread over devices.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax import token_weights

Fields = dict[str, jax.Array]


def assign_credit(method: objective_lib.Objective, fields: Fields) -> Fields:
  """Adds advantages, token advantages and masks; once per rollout batch.

  Token weights that name a live field are left to `loss_and_terms`.

  Args:
    method: the bound method.
    fields: of one whole rollout batch; group statistics are taken over it.

  Returns:
    The fields with `advantages`, `token_advantages`, `loss_mask`, and with
    unjudged rows taken out of `completion_mask`.
  """
  mask = fields["completion_mask"] * fields["valid"][:, None]
  # Only the view is frozen: live fields, where a caller passes them along,
  # keep their gradients.
  view = jax.tree.map(lax.stop_gradient, fields | {"completion_mask": mask})
  values = method.advantage(view)
  shaped = view | {
    "advantages": values,
    "token_advantages": jnp.broadcast_to(values[:, None], mask.shape),
    "loss_mask": mask,
  }
  frozen = [w for w in method.token_weights if not objective_lib.is_live(w)]
  shaped = _apply_weights(frozen, shaped)
  return fields | {
    name: shaped[name]
    for name in (*objective_lib.CREDIT_FIELDS, "completion_mask")
  }


def counts(
  method: objective_lib.Objective, fields: Fields
) -> dict[str, jax.Array]:
  """The denominators of the loss terms over a whole batch, f32[] each.

  They depend on masks alone, so they are known before the forward pass: every
  micro-batch divides its sums by the same counts, and the gradients add up to
  that of the undivided batch.
  """
  return {
    name: mean.count
    for name, mean in _reduce(
      method,
      fields,
      dict.fromkeys(_terms(method), jnp.zeros_like(fields["loss_mask"])),
    ).items()
  }


def loss_and_terms(
  method: objective_lib.Objective,
  fields: Fields,
  batch_counts: dict[str, jax.Array],
) -> tuple[jax.Array, dict[str, records.Mean]]:
  """The loss of (a part of) a batch, and its terms before division.

  Args:
    method: the bound method.
    fields: after `assign_credit`, with the live fields of a forward pass.
    batch_counts: of the whole batch, from `counts`.

  Returns:
    f32[] loss and {term: Mean}. Summed over the parts of a batch, the losses
    give the loss of the batch.
  """
  fields = _inert_padding(fields)
  live = [w for w in method.token_weights if objective_lib.is_live(w)]
  if live:
    view = fields | {
      name: lax.stop_gradient(fields[name])
      for name in objective_lib.LIVE_FIELDS
      if name in fields
    }
    shaped = _apply_weights(live, view)
    fields = fields | {
      name: shaped[name] for name in objective_lib.CREDIT_FIELDS
    }
  token_losses = {name: part(fields) for name, part in _terms(method).items()}
  means = _reduce(method, fields, token_losses)
  loss = jnp.zeros((), jnp.float32)
  for name, part in _terms(method).items():
    shared = records.Mean(means[name].total, batch_counts[name])
    loss += part.coef * shared.value()
  return loss, means


def _terms(method: objective_lib.Objective) -> dict[str, objective_lib.Bound]:
  """The added parts of the loss by name; all are f32[B, T]."""
  return {"policy": method.token_loss} | {
    part.function.__name__: part for part in method.regularizers
  }


def _reduce(method, fields, token_losses) -> dict[str, records.Mean]:
  """Sum and count of each term.

  The policy term is summed under the loss mask. Regularizers hold on every
  generated token, whatever a method's masks silence.
  """
  reduced = {}
  for name, values in token_losses.items():
    view = fields | {"token_losses": values}
    if name != "policy":
      view["loss_mask"] = fields["completion_mask"]
    reduced[name] = method.aggregate(view)
  return reduced


def _apply_weights(weights, fields: Fields) -> Fields:
  for weight in weights:
    shape = token_weights.TokenShape(*weight(fields))
    fields = fields | {
      "token_advantages": (
        fields["token_advantages"] * shape.weight + shape.bonus
      ),
      "loss_mask": fields["loss_mask"] * shape.mask,
    }
  return fields


def _inert_padding(fields: Fields) -> Fields:
  """Zeroes padded cells before any method sees them.

  A NaN there would survive a mask applied afterwards: 0 * NaN is NaN in the
  gradient.
  """
  mask = fields["completion_mask"]
  inside = mask > 0
  return {
    name: jnp.where(inside, value, 0.0)
    if value.shape == mask.shape and value.dtype == mask.dtype
    else value
    for name, value in fields.items()
  }
