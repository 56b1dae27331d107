"""Histograms and tables: they hold every token once."""

import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.analysis import histograms


def test_the_density_integrates_to_1():
  found = histograms.histogram(
    np.array([-0.1, -29.0]), np.ones(2), value_range=(-30.0, 0.0)
  )
  np.testing.assert_allclose(found.width, 0.3)
  np.testing.assert_allclose(np.sum(found.density * found.width), 1.0)
  # Two values in a hundred bins: each has half of the mass.
  np.testing.assert_allclose(found.density[[3, 99]], 0.5 / 0.3)
  assert found.counts.sum() == 2 and found.num_outside == 0


def test_both_edges_belong_and_the_rest_is_counted():
  values = np.array([0.0, 10.0, 10.1, -0.1, np.inf, 5.0])
  found = histograms.histogram(
    values, np.array([1, 1, 1, 1, 1, 0]), value_range=(0.0, 10.0), num_bins=2
  )
  np.testing.assert_array_equal(found.counts, [1, 1])
  assert found.num_outside == 3


def test_nothing_has_no_density():
  found = histograms.histogram(
    np.full(3, np.nan), np.zeros(3), value_range=(0.0, 1.0)
  )
  assert not np.any(found.density) and found.num_outside == 0


def test_rounding_puts_certain_tokens_nowhere_else():
  found = histograms.token_histograms(
    logprobs=np.array([[1e-7, -0.5]]),
    entropies=np.array([[-1e-7, 0.5]]),
    mask=np.ones((1, 2)),
  )
  assert found["logprobs"].counts[-1] == 1
  assert found["entropies"].counts[0] == 1
  assert not any(x.num_outside for x in found.values())
  assert [len(x.counts) for x in found.values()] == [100, 100]


def _batch(seed=0):
  rng = np.random.default_rng(seed)
  mask = (rng.random((6, 5)) < 0.7).astype(np.float32)
  spoilt = lambda x: np.where(mask > 0, x, np.nan)
  return dict(
    completion_tokens=rng.integers(0, 4, (6, 5)),
    logprobs=spoilt(-10 * rng.random((6, 5))),
    entropies=spoilt(3 * rng.random((6, 5))),
    mask=mask,
  )


def test_batches_merge_in_any_order():
  batch = _batch()
  take = lambda rows: {name: x[rows] for name, x in batch.items()}
  table = lambda x: histograms.token_table(**x, vocab_size=5)
  spread = lambda x: histograms.token_histograms(
    logprobs=x["logprobs"], entropies=x["entropies"], mask=x["mask"]
  )
  halves = take(slice(3, 6)), take(slice(0, 3))
  merged = table(halves[0]).merge(table(halves[1]))
  for name, values in vars(table(batch)).items():
    np.testing.assert_allclose(getattr(merged, name), values)
  for name, whole in spread(batch).items():
    both = spread(halves[0])[name].merge(spread(halves[1])[name])
    np.testing.assert_array_equal(both.counts, whole.counts)
    assert both.num_outside == whole.num_outside


def test_histograms_of_other_bins_do_not_merge():
  make = lambda n: histograms.histogram(
    np.zeros(1), np.ones(1), value_range=(0.0, 1.0), num_bins=n
  )
  with pytest.raises(errors.UserError, match="merge those with the same edges"):
    make(2).merge(make(3))


def test_the_table_by_hand():
  found = histograms.token_table(
    completion_tokens=np.array([[2, 1, 2], [0, 0, 0]]),
    logprobs=np.array([[-1.0, -2.0, -3.0], [np.nan] * 3]),
    entropies=np.array([[0.5, 1.0, 1.5], [np.nan] * 3]),
    mask=np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]),
    vocab_size=4,
  )
  np.testing.assert_array_equal(found.counts, [0, 1, 2, 0])
  np.testing.assert_allclose(found.mean_logprobs, [0.0, -2.0, -2.0, 0.0])
  np.testing.assert_allclose(found.mean_entropies, [0.0, 1.0, 1.0, 0.0])
  assert found.rows(("<pad>", "so", "wait", "?")) == [
    {
      "token": 2,
      "text": "wait",
      "count": 2,
      "mean_logprob": -2.0,
      "mean_entropy": 1.0,
    },
    {
      "token": 1,
      "text": "so",
      "count": 1,
      "mean_logprob": -2.0,
      "mean_entropy": 1.0,
    },
  ]
