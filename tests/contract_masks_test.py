"""No padding, empty or unjudged row reaches a loss, whatever the method."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import hooks
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from rlvr_jax import token_weights
from tests import batches
from tests import contract

_bound = objective_lib.bound
# Who reads a derived field; any number per row can be a log-partition.
_BALANCE = functools.partial(
  _bound,
  losses.trajectory_balance,
  **contract.aliases(losses.trajectory_balance),
  **contract.SETTINGS["trajectory_balance"],
)
_READERS = {
  "segment_ids": dict(token_weights=(_bound(token_weights.empg_weights),)),
  "planning_tokens": dict(token_weights=(_bound(token_weights.hicra_weights),)),
  "clip_cov_tokens": dict(token_loss=_bound(losses.clip_cov)),
  "kl_cov_tokens": dict(token_loss=_bound(losses.kl_cov)),
  "d_hat": dict(token_weights=(_bound(token_weights.reversed_teacher),)),
  "srpo_weights": dict(token_loss=_bound(losses.srpo)),
  "zero_anchor": dict(
    token_loss=None, sequence_loss=_BALANCE(anchor_logprobs="zero_anchor")
  ),
}
# A tuple is what a loss says of itself, and no field; see `credit`.
_COMPUTED = [
  (hook, function)
  for hook, function in contract.IN_HOOKS
  if (hook, function) != ("derived", losses.trajectory_balance)
]
_each_computed = pytest.mark.parametrize(
  "hook, function", _COMPUTED, ids=lambda x: getattr(x, "__name__", x)
)
# A batch of another shape is another program: the quick tests make one a hook.
_FIRST_OF_HOOKS = [*dict(reversed(_COMPUTED)).items()]
_each_computed_some_slow = pytest.mark.parametrize(
  "hook, function",
  [
    x if x in _FIRST_OF_HOOKS else pytest.param(*x, marks=pytest.mark.slow)
    for x in _COMPUTED
  ],
  ids=lambda x: getattr(x, "__name__", x),
)


def _objective(hook, function):
  """GRPO with the function in its hook, and the derived fields it reads."""
  part = lambda f: _bound(
    f, **contract.SETTINGS.get(f.__name__, {}), **contract.aliases(f)
  )
  own = part(function)
  method = objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_loss=_bound(losses.ppo_clip) if hook != "sequence_loss" else None,
    scalars={k: schedules.Schedule(v) for k, v in contract.SCALARS.items()},
  )._replace(**{hook: own if hook in hooks.SINGLE else (own,)})
  if hook == "sequence_loss":
    # Some of them are frozen and have no gradient of their own.
    method = method._replace(regularizers=(_bound(losses.kl_k3),))
  if hook == "derived":
    balance = dict(
      token_loss=None, sequence_loss=_BALANCE(log_partition=function.__name__)
    )
    method = method._replace(**_READERS.get(function.__name__, balance))
  wanted = objective_lib.needed_fields(method) & set(contract.DERIVED)
  missing = tuple(part(contract.DERIVED[name]) for name in sorted(wanted))
  return method._replace(derived=(*method.derived, *missing))


@functools.cache
def _compiled(hook, function):
  method = _objective(hook, function)

  def loss(live, fields):
    value, terms = credit.whole_loss(method, fields | live)
    return value, {name: mean.count for name, mean in terms.items()}

  return jax.jit(jax.value_and_grad(loss, has_aux=True))


def _run(hook, function, fields):
  """Loss, counts and gradients in what is learned."""
  names = ("logprobs", "entropies", "support_logprobs", "log_partition")
  live = {name: fields[name] for name in names}
  return _compiled(hook, function)(live, fields)


def _spoilt(fields, cells):
  """NaN in all float fields, tokens of phrases in the others."""
  junk = lambda x: jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else 4
  wide = lambda x: cells.reshape(*cells.shape, *(1,) * (x.ndim - 2))
  return fields | {
    name: jnp.where(wide(x), junk(x), x).astype(x.dtype)
    for name, x in fields.items()
    if x.shape[:2] == cells.shape and name != "completion_mask"
  }


@_each_computed
def test_padding_is_inert(hook, function):
  fields = batches.fields()
  clean = _run(hook, function, fields)
  dirty = _run(hook, function, _spoilt(fields, fields["completion_mask"] == 0))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  # There is something that a NaN could have spoilt.
  policy = ("logprobs", "support_logprobs")
  assert max(jnp.max(jnp.abs(clean[1][name])) for name in policy) > 1e-3


@_each_computed
def test_a_batch_without_tokens_has_no_loss_gradient_or_count(hook, function):
  fields = batches.fields()
  empty = fields | {
    "completion_mask": jnp.zeros_like(fields["completion_mask"])
  }
  for found in jax.tree.leaves(_run(hook, function, empty)):
    np.testing.assert_array_equal(found, jnp.zeros_like(found))


@_each_computed
def test_a_fully_masked_row_is_silent(hook, function):
  fields = batches.fields()
  cells = jnp.zeros(fields["completion_mask"].shape, bool).at[4].set(True)
  fields = _spoilt(fields, cells)
  fields |= {"completion_mask": fields["completion_mask"].at[4].set(0.0)}
  (loss, _), gradients = _run(hook, function, fields)
  assert jnp.isfinite(loss)
  for gradient in gradients.values():
    assert jnp.all(jnp.isfinite(gradient))
    assert not jnp.any(gradient[4])


@_each_computed_some_slow
def test_a_row_that_was_not_judged_might_as_well_be_missing(hook, function):
  fields = batches.fields()
  cells = jnp.zeros(fields["completion_mask"].shape, bool).at[4].set(True)
  unjudged = _spoilt(fields, cells) | {
    name: fields[name].at[4].set(value)
    for name, value in (("valid", 0.0), ("rewards", jnp.nan))
  }
  without = {
    name: jnp.delete(x, 4, axis=0) if x.ndim else x
    for name, x in fields.items()
  }
  (loss, counts), gradients = _run(hook, function, unjudged)
  (expected, expected_counts), expected_gradients = _run(
    hook, function, without
  )
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-7)
  assert counts == expected_counts
  for name, gradient in gradients.items():
    assert not jnp.any(gradient[4])
    np.testing.assert_allclose(
      jnp.delete(gradient, 4, axis=0),
      expected_gradients[name],
      rtol=1e-5,
      atol=1e-7,
    )
