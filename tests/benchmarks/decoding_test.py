"""Lengths and tables of decoding."""

import math

from benchmarks.decoding import draw
from benchmarks.decoding import slots


def test_the_mean_length_is_that_of_the_lengths():
  stop, longest = 0.3, 5
  # Lengths 1 to 4 end by a stop, all others at the longest.
  chances = [stop * (1 - stop) ** (n - 1) for n in range(1, longest)]
  chances.append(1 - sum(chances))
  expected = sum(n * chance for n, chance in enumerate(chances, start=1))
  assert math.isclose(slots.mean_length(stop, longest), expected)


def test_the_tables_of_decoding_say_what_was_found():
  kinds = [
    dict(kind="at once", width=512, throughput_ratio=[1.0, 1.0, 1.0]),
    dict(kind="refilled", width=64, throughput_ratio=[1.8, 2.0, 2.2]),
  ]
  kinds[1]["ratio_to_batches"] = [1.4, 1.5, 1.6]
  for x in kinds:
    x |= dict(secs=[0.9, 1.0, 1.1], tokens_per_sec=8192.0, idle_share=0.75)
  found = {
    "sequences": 512,
    "completion_tokens": 64,
    "mean_length": 16.0,
    "expected_mean_length": 15.7,
    "same_tokens": False,
    "kinds": kinds,
  }
  text = slots.table(found)
  assert text.splitlines()[3].split() == (
    ["refilled", "64", "1.000", "8,192", "75%", "2.00x", "1.50x"]
  )
  assert text.endswith("not one workload")
  assert "not one workload" not in slots.table(found | {"same_tokens": True})
  assert draw.share(1.0, 4.0, layer=2.0, more_layers=3) == 0.1
