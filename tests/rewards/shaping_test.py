"""Shaped rewards by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.rewards import shaping

_with_and_without_jit = pytest.mark.parametrize(
  "transform", [jax.jit, lambda function: function], ids=["jit", "eager"]
)


def _overlong(lengths, rewards, width=20, transform=lambda f: f, **settings):
  mask = np.arange(width)[None] < np.asarray(lengths)[:, None]
  return transform(functools.partial(shaping.overlong_penalty, **settings))(
    rewards=jnp.asarray(rewards, jnp.float32),
    completion_mask=jnp.asarray(mask, jnp.float32),
  )


@_with_and_without_jit
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


@_with_and_without_jit
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
