"""Bootstrap intervals: of what they are sure, and of what not."""

import numpy as np
import pytest

from rlvr_jax.metrics import intervals


def test_equal_values_leave_no_doubt():
  assert intervals.over_seeds(np.full(4, 0.25)) == (0.25, 0.25, 0.25)
  ones = np.ones((3, 5))
  assert intervals.paired(ones, ones) == (0.0, 0.0, 0.0)
  found = intervals.paired(ones, np.zeros((3, 5)))
  assert found == pytest.approx((1.0, 1.0, 1.0))


def test_an_interval_over_seeds_is_as_wide_as_their_error():
  values = np.random.default_rng(0).normal(size=400)
  mean, low, high = intervals.over_seeds(values)
  assert mean == pytest.approx(values.mean())
  error = values.std() / len(values) ** 0.5
  assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_problems_that_all_seeds_share_are_drawn_once():
  problems = np.random.default_rng(1).normal(size=(1, 400))
  # Eight seeds that say the same of each problem are no more than one.
  one = intervals.paired(problems, np.zeros_like(problems))
  eight = intervals.paired(np.tile(problems, (8, 1)), np.zeros((8, 400)))
  assert eight == pytest.approx(one, abs=0.02)
  error = problems.std() / 400**0.5
  assert (one[2] - one[1]) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_seeds_that_differ_widen_the_interval():
  change = np.tile(np.array([[-1.0], [1.0], [-1.0], [1.0]]), (1, 50))
  mean, low, high = intervals.paired(change, np.zeros_like(change))
  assert mean == 0.0
  assert low == pytest.approx(-1.0, abs=0.01)
  assert high == pytest.approx(1.0, abs=0.01)
