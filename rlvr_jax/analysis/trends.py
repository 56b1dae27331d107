"""Which words became more or less frequent between two measurements."""

from collections.abc import Mapping
from typing import NamedTuple

# Ratios beyond which a change has a name [code: SDD-code:
# analyzing_reasoning_behavior/make_report.py].
UP, DOWN = 1.3, 0.7


class Trend(NamedTuple):
  """One word of two measurements.

  Attributes:
    word: the marker.
    first: its count per response, or any other rate, before.
    second: the same after.
    ratio: second / first; None where first is 0.
    label: "up", "flat" or "down".
  """

  word: str
  first: float
  second: float
  ratio: float | None
  label: str


def trend_label(ratio: float) -> str:
  """Name of a ratio: "up" above 1.3, "down" below 0.7, else "flat"."""
  if ratio > UP:
    return "up"
  return "down" if ratio < DOWN else "flat"


def compare(
  first: Mapping[str, float], second: Mapping[str, float]
) -> list[Trend]:
  """A row per word, in the order of the first measurement, then of the second.

  A word that one side lacks counts 0 there. From 0 to anything is "up", and
  from 0 to 0 "flat" [inferred].

  Args:
    first: rate by word, 0 or more; per 1000 tokens where lengths differ.
    second: the same, later or of another run.
  """
  rows = []
  for word in dict.fromkeys((*first, *second)):
    before, after = first.get(word, 0.0), second.get(word, 0.0)
    if before > 0:
      ratio = after / before
      label = trend_label(ratio)
    else:
      ratio, label = None, "up" if after > 0 else "flat"
    rows.append(Trend(word, before, after, ratio, label))
  return rows
