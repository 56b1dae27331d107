"""Shaped rewards by hand."""

import functools

import jax.numpy as jnp
import numpy as np

from rlvr_jax import advantages
from rlvr_jax.rewards import shaping
from tests import marks


def _overlong(lengths, rewards, width=20, transform=lambda f: f, **settings):
  mask = np.arange(width)[None] < np.asarray(lengths)[:, None]
  return transform(functools.partial(shaping.overlong_penalty, **settings))(
    rewards=jnp.asarray(rewards, jnp.float32),
    completion_mask=jnp.asarray(mask, jnp.float32),
  )


@marks.with_and_without_jit
def test_the_penalty_grows_over_the_last_tokens_of_the_budget(transform):
  # Budget 16, ramp over its last 4: nothing up to 12, then a quarter a token,
  # and never more than 1.
  found = _overlong(
    [0, 11, 12, 13, 14, 16, 20],
    [1.0] * 7,
    max_tokens=16,
    buffer_tokens=4,
    transform=transform,
  )
  np.testing.assert_array_equal(found, [1.0, 1.0, 1.0, 0.75, 0.5, 0.0, 0.0])


def test_a_wrong_and_overlong_answer_gets_less_than_nothing():
  found = _overlong([14], [0.0], max_tokens=16, buffer_tokens=4)
  np.testing.assert_array_equal(found, [-0.5])


def test_the_papers_budget_is_idle_on_short_completions():
  # 20480 - 4096 = 16384 tokens are free.
  found = _overlong([1, 20], [1.0, 0.25])
  np.testing.assert_array_equal(found, [1.0, 0.25])


def _kl(old, reference, mask, transform=lambda f: f, **settings):
  method = functools.partial(shaping.sequence_kl_penalty, **settings)
  old = jnp.asarray(old, jnp.float32)
  return transform(method)(
    rewards=jnp.ones(old.shape[0]),
    old_logprobs=old,
    ref_logprobs=jnp.asarray(reference, jnp.float32),
    completion_mask=jnp.asarray(mask, jnp.float32),
  )


@marks.with_and_without_jit
def test_the_log_ratio_is_summed_over_the_completion(transform):
  # Row 0: 1 + 0.5 + 0.5 = 2 nats; row 1: -1, a bonus; padding is not summed.
  found = _kl(
    [[-1.0, -1.0, -1.0], [-2.0, jnp.nan, jnp.nan]],
    [[-2.0, -1.5, -1.5], [-1.0, jnp.nan, 0.0]],
    [[1, 1, 1], [1, 0, 0]],
    transform,
    kl_coef=0.25,
  )
  np.testing.assert_array_equal(found, [0.5, 1.25])


def test_the_sum_grows_with_the_length_where_a_mean_would_not():
  # 0.25 nats a token: 4 tokens cost 0.03 * 1, one token 0.03 * 0.25.
  old, reference = np.full((2, 4), -1.0), np.full((2, 4), -1.25)
  found = _kl(old, reference, [[1, 1, 1, 1], [1, 0, 0, 0]])
  np.testing.assert_allclose(found, [0.97, 0.9925], rtol=1e-6)


def test_an_empty_completion_keeps_its_reward():
  found = _kl([[-1.0, -2.0]], [[-3.0, -3.0]], [[0, 0]])
  np.testing.assert_array_equal(found, [1.0])


def _unlikely(means, rewards, valid=None, transform=lambda f: f, **settings):
  rows = len(means)
  method = functools.partial(shaping.unlikeliness, **settings)
  return transform(method)(
    rewards=jnp.asarray(rewards, jnp.float32),
    frozen_logprobs=jnp.asarray(means, jnp.float32)[:, None],
    completion_mask=jnp.ones((rows, 1)),
    group_ids=jnp.zeros(rows, jnp.int32),
    valid=jnp.ones(rows) if valid is None else jnp.asarray(valid, jnp.float32),
  )


@marks.with_and_without_jit
def test_the_likelier_of_two_right_answers_gets_less(transform):
  # Ranks 2, 1, 3, 0 of four at 1/4: factors 1 - 2/16, 1 - 1/16, any, 1.
  shaped = _unlikely([-1, -2, -0.5, -3], [1, 1, 0, 1], transform=transform)
  np.testing.assert_allclose(shaped, [0.875, 0.9375, 0.0, 1.0])
  # Hence, against the group's mean 0.703125 and deviation 0.471700:
  found = advantages.grpo_advantages(
    rewards=shaped, group_ids=jnp.zeros(4, jnp.int32), valid=jnp.ones(4)
  )
  np.testing.assert_allclose(
    found, [0.364512, 0.497062, -1.491186, 0.629612], rtol=1e-5
  )


def test_ties_share_the_lower_rank_and_unjudged_rows_have_none():
  found = _unlikely([-1, -1, -2], [1, 1, 1], rank_coef=0.75)
  np.testing.assert_allclose(found, [0.75, 0.75, 1.0])
  found = _unlikely([-1, -1, -2], [1, 1, 1], valid=[1, 1, 0], rank_coef=0.75)
  np.testing.assert_allclose(found[:2], [1.0, 1.0])
