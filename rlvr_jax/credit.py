"""An objective applied to a batch: credit before the gradient, loss inside.

Three stages. `assign_credit` runs once per rollout batch, `refine_credit` once
per update, where a method looks at the current policy; both see the whole
batch. `loss_and_terms` runs inside the gradient and looks at each row alone.
The loss stays f32[B, T] (or f32[B]) until one reduction; sums and counts
travel apart to the last division. Hence loss and gradient do not depend on how
a batch is split, padded, ordered or spread over devices.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import binding
from rlvr_jax import errors
from rlvr_jax import masked
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax.losses import behavior as behavior_lib
from rlvr_jax.token_weights import shape as shape_lib

Fields = dict[str, jax.Array]
# Fields that exist only inside the gradient; selectors see them frozen.
LIVE_FIELDS = (
  "logprobs",
  "entropies",
  "mean_logprobs",
  "support_logprobs",
  "log_partition",
)
# Fields that `assign_credit` fills or changes.
CREDIT_FIELDS = ("advantages", "token_advantages", "loss_mask")
_CHANGED = (*CREDIT_FIELDS, "completion_mask", "rewards")


def assign_credit(method: objective_lib.Objective, fields: Fields) -> Fields:
  """Adds advantages, token advantages and masks; once per rollout batch.

  Order: scalars, derived fields, reward shaping, advantage, filters, derived
  fields that name credit, token weights. Whatever names the current policy is
  left to `refine_credit`.

  Args:
    method: the bound method.
    fields: of one whole rollout batch; group statistics are taken over it.

  Returns:
    The fields with `advantages`, `token_advantages` and `loss_mask` (0
    without an advantage function), derived fields, shaped `rewards`, and with
    unjudged and dropped rows taken out of `completion_mask`.
  """
  fields = fields | scalars(method, fields.get("step", 0))
  mask = fields["completion_mask"] * fields["valid"][:, None]
  # Only the view is frozen: live fields, where a caller passes them along,
  # keep their gradients.
  view = _inert_padding(fields | {"completion_mask": mask})
  view = jax.tree.map(lax.stop_gradient, view)
  live = live_fields(method)
  frozen = [part for part in method.derived if not part.reads(live)]
  credited = _with_dependents(frozen, CREDIT_FIELDS)
  view = _derive([p for p in frozen if not p.reads(credited)], view)
  for shaping in method.reward_shaping:
    view["rewards"] = shaping(view)
  values = jnp.zeros_like(view["valid"])
  if method.advantage:
    values = method.advantage(view)
    if isinstance(values, tuple):
      values, keep = values
      mask *= keep[:, None]
  view["advantages"] = values
  for part in method.filters:
    mask *= part(view)[:, None]
  view |= {
    "token_advantages": jnp.broadcast_to(values[:, None], mask.shape),
    "loss_mask": mask,
    "completion_mask": mask,
  }
  view = _derive([p for p in frozen if p.reads(credited)], view)
  view = _weigh([p for p in method.token_weights if not p.reads(live)], view)
  names = (*_CHANGED, *(part.name for part in method.derived))
  return fields | {name: view[name] for name in names if name in view}


def scalars(method: objective_lib.Objective, step: jax.Array | int) -> Fields:
  """The method's own numbers after `step` rollout batches, f32[] by name."""
  return {name: value(step) for name, value in method.scalars.items()}


def needs_old_logprobs(method: objective_lib.Objective) -> bool:
  """Whether `assign_credit` reads old_logprobs, before any update."""
  by_hook = objective_lib.functions(method)
  hooks = ("reward_shaping", "advantage", "filters", "token_weights", "derived")
  parts = [part for hook in hooks for part in by_hook[hook]]
  live = live_fields(method)
  return any(
    part.reads(["old_logprobs"]) for part in parts if not part.reads(live)
  )


def live_fields(method: objective_lib.Objective) -> frozenset[str]:
  """Fields of the current policy, and derived fields that depend on them."""
  return _with_dependents(method.derived, LIVE_FIELDS)


def is_refined(method: objective_lib.Objective) -> bool:
  """Whether credit looks at the current policy, at each update anew."""
  live = live_fields(method)
  return any(p.reads(live) for p in (*method.derived, *method.token_weights))


def refine_credit(method: objective_lib.Objective, fields: Fields) -> Fields:
  """Applies what names the current policy; once per update.

  Args:
    method: the bound method.
    fields: after `assign_credit`, of all rows of one update, with the live
      fields of a forward pass. The live ones are frozen here.

  Returns:
    The fields with `token_advantages`, `loss_mask` and derived fields final.
  """
  if not is_refined(method):
    return fields
  view = jax.tree.map(lax.stop_gradient, _inert_padding(fields))
  live = live_fields(method)
  view = _derive([p for p in method.derived if p.reads(live)], view)
  view = _weigh([p for p in method.token_weights if p.reads(live)], view)
  names = (*CREDIT_FIELDS, *(part.name for part in method.derived))
  return fields | {name: view[name] for name in names}


def counts(
  method: objective_lib.Objective, fields: Fields
) -> dict[str, jax.Array]:
  """The denominators of the loss terms over all rows of one update, f32[].

  They depend on masks alone: every micro-batch divides its sums by the same
  counts, and the gradients add up to that of the undivided batch.

  Returns:
    By kind of term: see `_kind`.
  """
  nothing = jnp.zeros_like(fields["completion_mask"])
  kinds = {"policy", *(part.over for part in method.regularizers)}
  found = {kind: _reduce(method, fields, nothing, kind).count for kind in kinds}
  return found | {"rows": _reduce(method, fields, nothing[:, 0], "rows").count}


def loss_and_terms(
  method: objective_lib.Objective,
  fields: Fields,
  batch_counts: dict[str, jax.Array],
) -> tuple[jax.Array, dict[str, records.Mean], Fields]:
  """The loss of (a part of) an update, and its terms before division.

  Args:
    method: the bound method.
    fields: after `refine_credit`, with the live fields of a forward pass.
    batch_counts: of the whole update, from `counts`.

  Returns:
    f32[] loss, {term: Mean}, and what a sequence loss tells of each row beside
    its value, f32[B] by name. Summed over the parts of a batch, the losses
    give the loss of the batch.
  """
  fields, weight = _correct(method, _inert_padding(fields))
  total, means, told = 0.0, {}, {}
  for name, part in _terms(method):
    values = part(fields)
    if isinstance(values, tuple):
      beside = values._asdict()
      values = beside.pop("losses")
      told = told or beside
    kind = _kind(name, part, values)
    if kind == "policy":
      values *= weight
    elif name == "policy" and not isinstance(weight, float):
      raise errors.UserError(
        f"config.behavior weighs tokens, but {part.name} gives one loss per"
        " response: use a token loss, or take the correction out"
      )
    means[name] = _reduce(method, fields, values, kind)
    total += (
      part.coef * records.Mean(means[name].total, batch_counts[kind]).value()
    )
  return total, means, told


def whole_loss(
  method: objective_lib.Objective, fields: Fields
) -> tuple[jax.Array, dict[str, records.Mean]]:
  """All stages at once, for a batch that is one update and one piece.

  Args:
    method: the bound method.
    fields: of the whole batch, with the live fields of a forward pass.

  Returns:
    f32[] loss and {term: Mean}; differentiable in the live fields.
  """
  fields = refine_credit(method, assign_credit(method, fields))
  return loss_and_terms(method, fields, counts(method, fields))[:2]


def _with_dependents(parts, names) -> frozenset[str]:
  """The names, and those of derived fields that are computed from them."""
  found = set(names)
  for part in parts:
    if part.reads(found):
      found.add(part.name)
  return frozenset(found)


def _derive(parts, fields: Fields) -> Fields:
  for part in parts:
    value = part(fields)
    if isinstance(value, tuple):
      raise errors.UserError(
        f"config.derived names {part.name}, which gives several values: a"
        " derived field is one array"
      )
    fields = fields | {part.name: value}
  return fields


def _weigh(parts, fields: Fields) -> Fields:
  for part in parts:
    shape = shape_lib.TokenShape(*part(fields))
    credit = fields["token_advantages"] * shape.weight + shape.bonus
    fields = fields | {
      "token_advantages": credit,
      "loss_mask": fields["loss_mask"] * shape.mask,
    }
  return fields


def _correct(method, fields: Fields) -> tuple[Fields, jax.Array | float]:
  """Applies the behavior corrections; returns the policy term's factor."""
  view = jax.tree.map(lax.stop_gradient, fields)
  weight, replaced_by = 1.0, None
  for part in method.behavior:
    found = behavior_lib.Behavior(*part(view))
    weight *= found.weight
    if found.old_logprobs is not None:
      if replaced_by:
        raise errors.UserError(
          f"config.behavior: {replaced_by} and {part.name} both replace"
          " old_logprobs: keep one of them"
        )
      replaced_by = part.name
      fields = fields | {"old_logprobs": found.old_logprobs}
  return fields, weight


def _terms(
  method: objective_lib.Objective,
) -> list[tuple[str, binding.Bound]]:
  """The added parts of the loss, the policy's first."""
  policy = method.token_loss or method.sequence_loss
  named = [(part.name, part) for part in method.regularizers]
  return [("policy", policy), *named]


def _kind(name: str, part: binding.Bound, values: jax.Array) -> str:
  """What a term is averaged over.

  "rows" for values per response; "policy" for the policy's token losses, under
  the loss mask; else the field that selects a regularizer's tokens, or "" for
  all generated tokens, whatever a method's masks silence.
  """
  if values.ndim == 1:
    return "rows"
  return "policy" if name == "policy" else part.over


def _reduce(method, fields: Fields, values, kind: str) -> records.Mean:
  """Sum and count of one term."""
  mask = fields["completion_mask"]
  if kind == "rows":
    return masked.masked_mean(values, masked.row_weights(mask))
  view = fields | {"token_losses": values}
  if kind != "policy":
    chosen = mask * fields[kind] if kind else mask
    view |= {"loss_mask": chosen, "completion_mask": chosen}
  return method.aggregate(view)


def _inert_padding(fields: Fields) -> Fields:
  """Zeroes padded cells before any method sees them.

  A NaN there would survive a mask applied afterwards: 0 * NaN is NaN in the
  gradient.
  """
  mask = fields["completion_mask"]
  inside = mask > 0

  def clean(value):
    if value.shape[:2] != mask.shape or value.dtype != mask.dtype:
      return value
    cells = inside.reshape(*mask.shape, *(1,) * (value.ndim - 2))
    return jnp.where(cells, value, 0.0)

  return {name: clean(value) for name, value in fields.items()}
