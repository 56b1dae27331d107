"""Corrections for who acted: weights, another old policy, their order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import credit
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests import batches

_bound = objective_lib.bound
_OLD = jnp.log(jnp.asarray([[0.5, 0.125, 0.3]]))
_SAMPLER = jnp.log(jnp.asarray([[0.125, 0.5, 0.3]]))
_FIELDS = {
  "completion_mask": jnp.ones((1, 3)),
  "valid": jnp.ones(1),
  "rewards": jnp.ones(1),
  "logprobs": _OLD,
  "old_logprobs": _OLD,
  "sampler_logprobs": _SAMPLER,
}


def ratio_loss(*, logprobs, old_logprobs):
  return jnp.exp(logprobs - old_logprobs)


def twice(*, old_logprobs):
  return losses.Behavior(weight=jnp.full_like(old_logprobs, 2.0))


def lower_old(*, old_logprobs):
  return losses.Behavior(old_logprobs=old_logprobs - 1.0)


def sampler_as_old(*, sampler_logprobs):
  return losses.Behavior(old_logprobs=sampler_logprobs)


def _loss(*parts, fields=_FIELDS, token_loss=ratio_loss, **changes):
  method = objective_lib.Objective(
    advantage=_bound(batches.plain_rewards),
    token_loss=_bound(token_loss),
    behavior=parts,
    **changes,
  )
  return credit.whole_loss(method, fields)


@pytest.mark.parametrize("transform", [jax.jit, lambda function: function])
@pytest.mark.parametrize("cap, first", [(2.0, 2.0), (3.0, 3.0), (9.0, 4.0)])
def test_ratios_are_truncated_from_above_alone(transform, cap, first):
  # Ratios 4, 1/4 and 1.
  method = functools.partial(losses.truncated_importance, cap=cap)
  found = transform(method)(old_logprobs=_OLD, sampler_logprobs=_SAMPLER)
  assert found.old_logprobs is None
  np.testing.assert_allclose(found.weight, [[first, 0.25, 1.0]], rtol=1e-6)


def test_the_weight_stands_outside_of_the_clip():
  # Advantage 1, ratio e clipped to 1.2 on every token; weights 2, 1/4 and 1.
  # A weight inside of the ratio would be clipped to 1.2 with it.
  loss, _ = _loss(
    _bound(losses.truncated_importance),
    fields=_FIELDS
    | {"old_logprobs": _OLD - 1.0, "sampler_logprobs": _SAMPLER - 1.0},
    token_loss=losses.ppo_clip,
  )
  np.testing.assert_allclose(loss, -1.2 * 3.25 / 3.0, rtol=1e-6)


def test_the_weight_is_a_constant_of_the_gradient():
  def value(old, sampler):
    fields = {"old_logprobs": old, "sampler_logprobs": sampler}
    return _loss(
      _bound(losses.truncated_importance),
      fields=_FIELDS | fields,
      token_loss=losses.reinforce,
    )[0]

  for gradient in jax.grad(value, argnums=(0, 1))(_OLD, _SAMPLER):
    np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


def test_corrections_multiply_and_replace():
  loss = lambda *parts: _loss(*map(_bound, parts))[0]
  np.testing.assert_allclose(loss(), 1.0, rtol=1e-6)
  np.testing.assert_allclose(loss(twice), 2.0, rtol=1e-6)
  np.testing.assert_allclose(loss(lower_old), np.e, rtol=1e-6)
  np.testing.assert_allclose(loss(twice, lower_old), 2 * np.e, rtol=1e-6)
  np.testing.assert_allclose(loss(lower_old, twice), 2 * np.e, rtol=1e-6)


def test_two_corrections_multiply():
  # Weights 2 and (2, 1/4, 1): their mean is 2 * 3.25 / 3.
  loss, _ = _loss(_bound(twice), _bound(losses.truncated_importance))
  np.testing.assert_allclose(loss, 6.5 / 3.0, rtol=1e-6)


def test_two_corrections_that_replace_the_old_policy_are_refused():
  with pytest.raises(errors.UserError) as caught:
    _loss(_bound(lower_old), _bound(sampler_as_old))
  assert str(caught.value) == (
    "config.behavior: lower_old and sampler_as_old both replace old_logprobs:"
    " keep one of them"
  )


def test_corrections_leave_the_added_terms_alone():
  term = (_bound(losses.negative_log_likelihood),)
  plain, corrected = (
    _loss(*parts, regularizers=term)[1]["negative_log_likelihood"].value()
    for parts in ((), (_bound(twice),))
  )
  assert plain == corrected
