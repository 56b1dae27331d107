"""Names of changes."""

import pytest

from rlvr_jax.analysis import trends


@pytest.mark.parametrize(
  "ratio, label",
  [
    (1.31, "up"),
    (1.3, "flat"),
    (1.0, "flat"),
    (0.7, "flat"),
    (0.69, "down"),
    (0.0, "down"),
  ],
)
def test_labels(ratio, label):
  assert trends.trend_label(ratio) == label


def test_a_comparison_by_hand():
  rows = trends.compare(
    {"wait": 2.0, "hmm": 0.0, "maybe": 4.0, "so": 0.0, "check": 1.0},
    {"wait": 3.0, "hmm": 1.0, "maybe": 1.0, "so": 0.0, "actually": 0.5},
  )
  assert rows == [
    trends.Trend("wait", 2.0, 3.0, 1.5, "up"),
    trends.Trend("hmm", 0.0, 1.0, None, "up"),
    trends.Trend("maybe", 4.0, 1.0, 0.25, "down"),
    trends.Trend("so", 0.0, 0.0, None, "flat"),
    trends.Trend("check", 1.0, 0.0, 0.0, "down"),
    trends.Trend("actually", 0.0, 0.5, None, "up"),
  ]
  assert trends.compare({}, {}) == []
