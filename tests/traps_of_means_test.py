"""Traps of means and their denominators, each as a regression test.

The comment above a test names the trap and where it was seen.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from tests import batches
from tests import testing

_bound = objective_lib.bound
_GRPO = batches.GRPO
_loss = credit.whole_loss


# NSR: rows that are dropped leave the denominator as well [paper's code].
def test_dropped_rows_change_the_token_mean():
  nsr = _GRPO._replace(
    advantage=_bound(advantages.signed_advantages, positive_weight=0.0),
    token_loss=_bound(losses.reinforce),
  )
  fields = batches.by_length([3, 2], is_correct=[1.0, 0.0])
  loss, terms = _loss(nsr, fields)
  # The wrong row alone: (-1 - 2) / 2 tokens. Over all five it would be -0.6.
  assert (loss, terms["policy"].count) == (-1.5, 2.0)
  np.testing.assert_array_equal(
    batches.gradient(nsr, fields), [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
  )


# 80/20: the paper's mean runs over the kept tokens; the same mask without
# over_kept trains at a fifth of the learning rate.
def test_the_mean_of_forking_tokens_runs_over_the_kept_ones():
  method = objective_lib.Objective(
    token_loss=_bound(losses.negative_log_likelihood),
    token_weights=(_bound(token_weights.forking_token_mask, keep_frac=0.4),),
  )
  # ceil(0.4 * 5) = 2: the tokens of log-probability -2 and -3 in row 0.
  fields = batches.by_length(
    [3, 2], entropies=[[0.1, 2.0, 3.0], [0.2, 0.3, 9.0]]
  )
  loss, terms = _loss(method, fields)
  assert (loss, terms["policy"].count) == (1.0, 5.0)
  kept = method._replace(aggregate=_bound(losses.token_mean, over_kept=True))
  loss, terms = _loss(kept, fields)
  assert (loss, terms["policy"].count) == (2.5, 2.0)


# Clip-Cov cuts the gradient and leaves the token in the mean [paper's code].
def test_tokens_cut_by_clip_cov_stay_in_the_denominator():
  # Covariances 1.1, -1.1, -0.9, 0.9: token 0 is drawn, whatever is random.
  fields = batches.by_length([4], token_uniforms=[[0.1, 0.2, 0.3, 0.4]])
  logprobs = testing.floats([[-0.1, -2.3, -0.3, -2.1]])
  fields |= {"logprobs": logprobs, "old_logprobs": logprobs}
  method = objective_lib.Objective(
    token_loss=_bound(losses.clip_cov),
    derived=(_bound(derived.clip_cov_tokens),),
    token_weights=(_bound(right_then_wrong),),
  )
  loss, terms = _loss(method, fields)
  # -(0 + 1 - 1 - 1) / 4.
  assert (float(loss), float(terms["policy"].count)) == (0.25, 4.0)


def right_then_wrong(*, completion_mask):
  """Advantages 1, 1, -1, -1; frozen, so that it acts before the draw."""
  signs = jnp.where(jnp.arange(completion_mask.shape[1])[None] < 2, 1.0, -1.0)
  return token_weights.TokenShape(
    bonus=jnp.broadcast_to(signs, completion_mask.shape)
  )


_AGGREGATES = (losses.token_mean, losses.sequence_mean, losses.fixed_length)


# The mean of the means of micro-batches is not the mean (trl#3021, #3231),
# and whoever divides by their number divides twice (ms-swift#10116, #10117).
@pytest.mark.parametrize("aggregate", _AGGREGATES)
@pytest.mark.parametrize("cuts", [(3, 6, 9), (1, 2, 11), (6,)])
def test_micro_batches_add_up_to_the_batch(aggregate, cuts):
  method = _GRPO._replace(
    aggregate=_bound(aggregate),
    regularizers=(_bound(losses.kl_k3, coef=0.1), _bound(half_length)),
  )
  fields = credit.assign_credit(method, batches.fields())
  counts = credit.counts(method, fields)
  by_row = {k: v for k, v in fields.items() if v.ndim}

  @functools.partial(jax.jit, static_argnums=0)
  def value_and_gradient(rows, logprobs):
    part = {k: v[slice(*rows)] for k, v in by_row.items()}
    value = lambda x: credit.loss_and_terms(
      method, part | {"logprobs": x[slice(*rows)]}, counts
    )[0]
    return jax.value_and_grad(value)(logprobs)

  bounds = (0, *cuts, 12)
  live = fields["logprobs"]
  parts = [
    value_and_gradient(rows, live)
    for rows in zip(bounds[:-1], bounds[1:], strict=True)
  ]
  whole = value_and_gradient((0, 12), live)
  np.testing.assert_allclose(sum(p[0] for p in parts), whole[0], rtol=1e-5)
  np.testing.assert_allclose(
    sum(p[1] for p in parts), whole[1], rtol=1e-5, atol=1e-7
  )


def half_length(*, completion_mask, logprobs):
  """A loss per response that depends on its length."""
  lengths = jnp.sum(completion_mask, axis=1)
  return 0.5 * lengths + 0.1 * jnp.sum(logprobs, axis=1)


def test_four_micro_batches_of_one_sum_are_neither_four_times_nor_a_quarter():
  method = objective_lib.Objective(
    token_loss=_bound(losses.negative_log_likelihood)
  )
  fields = credit.assign_credit(method, batches.by_length([2, 2, 2, 2]))
  counts = credit.counts(method, fields)
  rows = lambda i: {k: v[i : i + 1] for k, v in fields.items()}
  parts = [credit.loss_and_terms(method, rows(i), counts)[0] for i in range(4)]
  # Each part has sum 3 over the 8 tokens of the batch: 4 * 3 / 8.
  assert [float(part) for part in parts] == [0.375] * 4
  assert sum(parts) == credit.loss_and_terms(method, fields, counts)[0] == 1.5


# A token mean that is divided by the batch once more (Marin's DAPO) has the
# direction and not the scale.
@pytest.mark.parametrize("aggregate", _AGGREGATES)
def test_the_scale_of_a_loss_does_not_depend_on_the_batch(aggregate):
  method = objective_lib.Objective(
    token_loss=_bound(one_per_token), aggregate=_bound(aggregate)
  )
  for lengths in ([3, 3], [3] * 7):
    assert _loss(method, batches.by_length(lengths))[0] == 1.0
  # Unequal lengths: still 1 as a mean over tokens or responses.
  if aggregate is not losses.fixed_length:
    assert _loss(method, batches.by_length([1, 3, 2]))[0] == 1.0


def one_per_token(*, logprobs):
  return jnp.ones_like(logprobs)


# The gradient shrank by the number of groups (ms-swift#10116).
@pytest.mark.parametrize("aggregate", _AGGREGATES)
def test_a_batch_beside_its_copy_has_the_same_loss_and_gradient(aggregate):
  method = _GRPO._replace(
    aggregate=_bound(aggregate),
    regularizers=(_bound(losses.kl_k3, coef=0.1),),
  )
  once = batches.fields()
  groups = once["group_ids"]
  twice = {
    name: jnp.concatenate([value, value]) if value.ndim else value
    for name, value in once.items()
  } | {"group_ids": jnp.concatenate([groups, groups + 4])}
  np.testing.assert_allclose(
    _loss(method, twice)[0], _loss(method, once)[0], rtol=1e-5
  )
  both = batches.gradient(method, twice).reshape(2, *once["logprobs"].shape)
  np.testing.assert_allclose(
    jnp.sum(both, axis=0), batches.gradient(method, once), rtol=1e-5, atol=1e-7
  )
