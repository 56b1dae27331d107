"""Estimates of accuracy against samples, by hand and by exact sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rlvr_jax.metrics import calibration
from tests import testing


def test_a_perfect_estimate_misses_by_the_counting_error():
  accuracy = jnp.asarray([0.5, 0.25, 0.125, 0.75, 0.0, 1.0, -0.3, 1.4])
  found = calibration.counting_error(accuracy, 8)
  expected = [0.136719, 0.116798, 0.085902, 0.116798, 0.0, 0.0, 0.0, 0.0]
  np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("num_samples", [1, 8, 32])
def test_the_counting_error_is_an_expectation(num_samples):
  counts = np.arange(num_samples + 1)
  for accuracy in (0.1, 0.37, 0.9):
    chances = scipy.stats.binom.pmf(counts, num_samples, accuracy)
    expected = np.sum(chances * np.abs(counts / num_samples - accuracy))
    found = calibration.counting_error(jnp.asarray(accuracy), num_samples)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_chance_of_two_verdicts():
  accuracy = jnp.asarray([0.5, 0.1, 0.05, 0.0, 1.0, 1.3])
  np.testing.assert_allclose(
    calibration.mixed_chance(accuracy, 8),
    [0.9922, 0.5695, 0.3366, 0.0, 0.0, 0.0],
    atol=1e-4,
  )


def test_rank_correlation_is_spearmans():
  """Also with ties, and with entries left out."""
  rng = np.random.default_rng(0)
  find = jax.jit(calibration.rank_correlation)
  for _ in range(30):
    a = rng.integers(0, 5, 12).astype(np.float32)
    b = (a * rng.normal() + rng.integers(0, 4, 12)).astype(np.float32)
    weights = (rng.random(12) < 0.8).astype(np.float32)
    kept = weights > 0
    expected = scipy.stats.spearmanr(a[kept], b[kept]).statistic
    np.testing.assert_allclose(find(a, b, weights), expected, atol=1e-5)


def test_a_constant_side_has_no_rank_correlation():
  a, b, ones = jnp.ones(4), jnp.arange(4.0), jnp.ones(4)
  assert calibration.rank_correlation(a, b, ones) == 0.0
  assert calibration.rank_correlation(b, a, ones) == 0.0
  assert calibration.rank_correlation(b, a, jnp.zeros(4)) == 0.0


def _batch(explored):
  """Four prompts of four: shares right 1/2, 0, 1, and one not judged."""
  correct = [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
  batch = testing.rollout_batch(4, 4)
  return batch.replace(
    prompts=batch.prompts.replace(
      accuracy_estimates=jnp.asarray([0.25, -0.2, 1.5, 0.9]),
      explored=explored,
    ),
    is_correct=jnp.asarray(correct, jnp.float32),
    valid=jnp.asarray([1.0] * 12 + [0.0] * 4),
  )


def test_calibration_by_hand():
  found = calibration.calibration(_batch(jnp.asarray([0.0, 1.0, 0.0, 0.0])))
  # |1/2 - 1/4|, |0 - 0| and |1 - 1|; noise of the first alone.
  noise = sum(
    chance * abs(k / 4 - 0.25)
    for k, chance in enumerate(scipy.stats.binom.pmf(range(5), 4, 0.25))
  )
  expected = {
    "error": 0.25 / 3,
    "bias": -0.25 / 3,
    "excess_error": (0.25 - noise) / 3,
    "rank_correlation": 1.0,
    "outside_frac": 2 / 3,
    "mixed_frac_expected": (1 - 0.25**4 - 0.75**4) / 3,
    "mixed_frac_explored": 0.0,
    "mixed_frac_selected": 0.5,
  }
  assert found.keys() == {f"curriculum/{name}" for name in expected}
  for name, value in expected.items():
    np.testing.assert_allclose(found[f"curriculum/{name}"], value, rtol=1e-5)


def test_shares_of_nothing_are_null():
  found = calibration.calibration(_batch(jnp.ones(4)))
  assert np.isnan(found["curriculum/mixed_frac_selected"])
  np.testing.assert_allclose(found["curriculum/mixed_frac_explored"], 1 / 3)
  found = calibration.calibration(_batch(jnp.zeros(4)))
  assert np.isnan(found["curriculum/mixed_frac_explored"])
  assert "curriculum/mixed_frac_selected" not in calibration.calibration(
    _batch(None)
  )


def test_a_perfect_estimate_has_no_excess_error_on_average():
  rng = np.random.default_rng(0)
  accuracy = rng.random(512)
  correct = rng.random((512, 8)) < accuracy[:, None]
  error = np.abs(correct.mean(axis=1) - accuracy)
  noise = calibration.counting_error(jnp.asarray(accuracy, jnp.float32), 8)
  excess = error - np.asarray(noise)
  assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(512)


def test_bins_hold_prompts_by_their_estimate():
  """Estimates 0.25, 0 and 1 after clipping; the last prompt is not judged."""
  found = calibration.bins(_batch(None))
  expected = {
    2: {"prompts": 1, "estimate_sum": 0.25, "accuracy_sum": 0.5},
    0: {"prompts": 1, "estimate_sum": 0.0, "accuracy_sum": 0.0},
    9: {"prompts": 1, "estimate_sum": 1.0, "accuracy_sum": 1.0},
  }
  assert len(found) == 3 * calibration.NUM_BINS
  for i in range(calibration.NUM_BINS):
    for name in ("prompts", "estimate_sum", "accuracy_sum"):
      value = expected.get(i, {}).get(name, 0.0)
      assert float(found[f"calibration/{i}/{name}"]) == value, (i, name)
