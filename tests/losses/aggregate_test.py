"""Reductions: sums and counts by hand, masks in their places."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import losses

_LOSSES = jnp.asarray([[1.0, 2.0, 3.0], [4.0, jnp.nan, jnp.nan]])
_MASK = jnp.asarray([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
_KEPT = jnp.asarray([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def _sum_and_count(aggregate, loss_mask=_MASK, mask=_MASK, **settings):
  mean = aggregate(
    token_losses=_LOSSES[: mask.shape[0]],
    loss_mask=loss_mask,
    completion_mask=mask,
    **settings,
  )
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


@pytest.mark.parametrize(
  "aggregate", [losses.token_mean, losses.sequence_mean, losses.fixed_length]
)
def test_a_batch_without_tokens_counts_nothing(aggregate):
  empty = jnp.zeros_like(_MASK)
  assert _sum_and_count(aggregate, empty, empty) == (0.0, 0.0)


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
