"""Advantages over the whole batch against hand-computed values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from tests import marks


def _call(
  rewards,
  lengths,
  group_ids=None,
  valid=None,
  transform=lambda f: f,
  **settings,
):
  rewards = jnp.asarray(rewards, jnp.float32)
  mask = np.arange(max(lengths))[None] < np.asarray(lengths)[:, None]
  valid = np.ones(len(lengths)) if valid is None else valid
  groups, method = {}, advantages.reinforce_pp_advantages
  if group_ids is not None:
    groups = dict(group_ids=jnp.asarray(group_ids, jnp.int32))
    method = advantages.reinforce_pp_baseline_advantages
  return transform(functools.partial(method, **settings))(
    rewards=rewards,
    **groups,
    valid=jnp.asarray(valid, jnp.float32),
    completion_mask=jnp.asarray(mask, jnp.float32),
  )


@marks.with_and_without_jit
def test_statistics_run_over_tokens(transform):
  # Four tokens carry 1, 0, 0, 0: mean 1/4, squares (9 + 3) / 16 over 4 - 1:
  # deviation 1/2. Over the two rows it would be +-0.7071.
  found = _call([1, 0], [1, 3], transform=transform)
  np.testing.assert_allclose(found, [1.5, -0.5], rtol=1e-5)


def test_epsilon_is_added_to_the_variance_inside_the_root():
  # Variance 1/4 plus 3/4: 0.75 / 1. Outside of the root: 0.75 / 1.25 = 0.6.
  found = _call([1, 0], [1, 3], epsilon=0.75)
  np.testing.assert_allclose(found, [0.75, -0.25], rtol=1e-6)


@marks.with_and_without_jit
def test_the_groups_mean_goes_first(transform):
  # Centred (1/2, -1/2, 0, 0), mean 0, squares 1/2 over 3: 0.5 * sqrt(6).
  # Within its own group the first row would get 0.7071.
  found = _call([1, 0, 1, 1], [1] * 4, [0, 0, 1, 1], transform=transform)
  np.testing.assert_allclose(
    found, [1.224745, -1.224745, 0.0, 0.0], rtol=1e-5, atol=1e-7
  )


def test_unequal_lengths_leave_a_credit_to_groups_of_equal_rewards():
  # Centred (1/2, -1/2, 0, 0) on 1, 3, 1 and 1 tokens: mean -1/6, squares
  # 4/9 + 3/9 + 1/18 = 5/6 over 5 tokens: deviation 0.408248.
  found = _call([1, 0, 1, 1], [1, 3, 1, 1], [0, 0, 1, 1])
  np.testing.assert_allclose(
    found, [1.632993, -0.816497, 0.408248, 0.408248], rtol=1e-5
  )


def test_groups_without_variance_learn_in_a_mixed_batch():
  # Mean 1/2, squares 1 over 3: 0.5 * sqrt(3) = 0.866025; GRPO gives zeros.
  found = _call([1, 1, 0, 0], [1] * 4)
  np.testing.assert_allclose(
    found, [0.866025, 0.866025, -0.866025, -0.866025], rtol=1e-5
  )


@pytest.mark.parametrize("value", [1.0, 0.1, -3.7])
def test_equal_rewards_in_the_whole_batch_give_exact_zeros(value):
  found = _call([value] * 7, [1, 2, 3, 1, 2, 3, 2])
  np.testing.assert_array_equal(found, [0.0] * 7)


@marks.with_and_without_jit
def test_invalid_rows_count_nowhere(transform):
  found = _call(
    [1, 0, jnp.nan], [1, 3, 2], valid=[1, 1, 0], transform=transform
  )
  np.testing.assert_allclose(found, [1.5, -0.5, 0.0], rtol=1e-5)


def test_a_batch_without_valid_rows_gives_zeros():
  found = _call([1, jnp.nan], [1, 2], valid=[0, 0], transform=jax.jit)
  np.testing.assert_array_equal(found, [0.0, 0.0])
