"""Reductions: sums and counts by hand, masks in their places."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import losses

_ALL = (losses.token_mean, losses.sequence_mean, losses.fixed_length)
_LOSSES = jnp.asarray([[1.0, 2.0, 3.0], [4.0, jnp.nan, jnp.nan]])
_MASK = jnp.asarray([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
_KEPT = jnp.asarray([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
_each = pytest.mark.parametrize("aggregate", _ALL)


def _mean(aggregate, token_losses, loss_mask=_MASK, mask=_MASK, **settings):
  return functools.partial(aggregate, **settings)(
    token_losses=token_losses[: mask.shape[0]],
    loss_mask=loss_mask,
    completion_mask=mask,
  )


def _sum_and_count(aggregate, *masks, **settings):
  mean = _mean(aggregate, _LOSSES, *masks, **settings)
  return float(mean.total), float(mean.count)


def test_token_mean():
  assert _sum_and_count(losses.token_mean) == (10.0, 4.0)
  assert _sum_and_count(losses.token_mean, _KEPT) == (4.0, 4.0)
  assert _sum_and_count(losses.token_mean, _KEPT, over_kept=True) == (4.0, 2.0)


def test_sequence_mean():
  # Row means 2 and 4.
  assert _sum_and_count(losses.sequence_mean) == (6.0, 2.0)
  # Row 0 keeps 1 + 3 of three tokens, row 1 nothing of one.
  total, count = _sum_and_count(losses.sequence_mean, _KEPT)
  np.testing.assert_allclose((total, count), (4 / 3, 2.0), rtol=1e-6)
  # Over what is kept: row 0 has mean 2, row 1 does not count.
  kept = _sum_and_count(losses.sequence_mean, _KEPT, over_kept=True)
  assert kept == (2.0, 1.0)


def test_fixed_length():
  assert _sum_and_count(losses.fixed_length, length=5) == (10.0, 10.0)
  assert _sum_and_count(losses.fixed_length) == (10.0, 6.0)


def test_the_three_weigh_a_long_and_a_short_response_differently():
  # 10 / 4 tokens, (2 + 4) / 2 responses, 10 / (2 * 3).
  found = [float(_mean(aggregate, _LOSSES).value()) for aggregate in _ALL]
  np.testing.assert_allclose(found, [2.5, 3.0, 5 / 3], rtol=1e-6)


@pytest.mark.parametrize(
  "aggregate, first, second",
  [
    # One weight a token: 1/4. One a response: 1/6 and 1/2. Constant: 1/6.
    (losses.token_mean, 1 / 4, 1 / 4),
    (losses.sequence_mean, 1 / 6, 1 / 2),
    (losses.fixed_length, 1 / 6, 1 / 6),
  ],
)
def test_the_weight_of_a_token_by_the_length_of_its_response(
  aggregate, first, second
):
  value = lambda x: _mean(aggregate, x).value()
  gradient = jax.jit(jax.grad(value))(_LOSSES)
  # Padded cells hold NaN and get exactly 0.
  np.testing.assert_allclose(
    gradient, [[first] * 3, [second, 0.0, 0.0]], rtol=1e-6
  )


@_each
def test_a_batch_without_tokens_counts_nothing(aggregate):
  empty = jnp.zeros_like(_MASK)
  assert _sum_and_count(aggregate, empty, empty) == (0.0, 0.0)
  value = lambda x: _mean(aggregate, x, empty, empty).value()
  found, gradient = jax.jit(jax.value_and_grad(value))(_LOSSES)
  assert found == 0.0
  np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


@_each
def test_a_fully_masked_row_is_not_counted(aggregate):
  mask = _MASK.at[1].set(0.0)
  # Row 0 alone: 6 over three tokens, mean 2 of one row, 6 over 1 * 3.
  total, count = _sum_and_count(aggregate, mask, mask)
  assert total / count == 2.0


@_each
def test_a_row_of_weight_one_half_counts_half(aggregate):
  twice = lambda x: jnp.concatenate([x, x[1:]])
  halves = jnp.asarray([1.0, 0.5, 0.5])[:, None] * twice(_MASK)
  doubled = _mean(aggregate, twice(_LOSSES), halves, halves)
  once = _mean(aggregate, _LOSSES)
  np.testing.assert_allclose(doubled.total, once.total, rtol=1e-6)
  np.testing.assert_allclose(doubled.count, once.count, rtol=1e-6)


def test_equal_lengths_make_all_three_agree():
  full = jnp.ones((1, 3))
  means = {
    total / count
    for total, count in (
      _sum_and_count(losses.token_mean, full, full),
      _sum_and_count(losses.sequence_mean, full, full),
      _sum_and_count(losses.fixed_length, full, full, length=3),
    )
  }
  assert means == {2.0}
