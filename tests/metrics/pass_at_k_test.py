"""pass@k against its closed form and by enumeration."""

import itertools
import math

import numpy as np
import pytest

from rlvr_jax.metrics import pass_at_k


@pytest.mark.parametrize("samples", [1, 5, 8, 20])
def test_closed_form(samples):
  correct = np.arange(samples + 1)
  for k in range(1, samples + 1):
    expected = [
      1 - math.comb(samples - c, k) / math.comb(samples, k) for c in correct
    ]
    np.testing.assert_allclose(
      pass_at_k.pass_at_k(correct, samples, k), expected, atol=1e-12
    )


def test_it_is_the_share_of_subsets_with_a_correct_sample():
  samples = [1, 0, 0, 1, 0, 0]
  for k in range(1, 7):
    subsets = list(itertools.combinations(samples, k))
    share = np.mean([any(subset) for subset in subsets])
    np.testing.assert_allclose(
      pass_at_k.pass_at_k(np.array([2]), 6, k), [share]
    )


def test_values_by_hand():
  # 1 - C(6, 4) / C(8, 4); never without a success; surely with n - c < k.
  found = pass_at_k.pass_at_k(np.array([2, 0, 5]), 8, 4)
  np.testing.assert_allclose(found, [0.785714, 0.0, 1.0], atol=1e-6)


def test_averages_and_any_correct_by_hand():
  counts = np.array([[1, 0, 0, 1], [0, 0, 0, 0]]).sum(axis=1)
  average = pass_at_k.avg_at_k(counts, 4)
  np.testing.assert_allclose(average, [0.5, 0.0])
  assert average.mean() == 0.25
  # With k = n, pass@k is whether any sample is right.
  assert pass_at_k.pass_at_k(counts, 4, 4).mean() == 0.5


def test_no_factorial_overflows():
  values = pass_at_k.pass_at_k(np.array([1, 5000]), 10_000, 5000)
  np.testing.assert_allclose(values, [0.5, 1.0])


@pytest.mark.parametrize(
  "correct, samples, k, message",
  [([1], 4, 5, "k is 5"), ([1], 4, 0, "k is 0"), ([5], 4, 1, "num_correct")],
)
def test_numbers_out_of_range_are_refused(correct, samples, k, message):
  with pytest.raises(ValueError, match=message):
    pass_at_k.pass_at_k(np.array(correct), samples, k)


def test_the_error_is_clustered_by_problem():
  # Two problems at 0 and 1: deviation sqrt(1/2), error 1/2.
  mean, error = pass_at_k.mean_and_error(np.array([0.0, 1.0]))
  np.testing.assert_allclose((mean, error), (0.5, 0.5))


def test_one_problem_has_no_error():
  mean, error = pass_at_k.mean_and_error(np.array([0.5]))
  assert mean == 0.5
  assert math.isnan(error)


def test_the_majority_by_hand():
  answers = [
    ["2", "2", "3", None],
    ["1", "2", "2", "1"],
    [None, None, None, None],
    ["5", "5", "5", "7"],
  ]
  correct = [[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
  np.testing.assert_array_equal(
    # A tie between a right answer and a wrong one is half right.
    pass_at_k.maj_at_k(answers, np.array(correct)),
    [1.0, 0.5, 0.0, 0.0],
  )


def test_paired_differences_forget_what_problems_share():
  rng = np.random.default_rng(0)
  difficulty = rng.uniform(size=400)
  ours = difficulty + 0.02 + 0.01 * rng.normal(size=400)
  mean, low, high = pass_at_k.paired_difference(ours, difficulty)
  assert low < 0.02 < high
  assert low < mean < high
  # Unpaired, the interval would be as wide as difficulty varies.
  assert high - low < 0.01
  assert pass_at_k.paired_difference(ours, ours) == (0.0, 0.0, 0.0)
