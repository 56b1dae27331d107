"""From the sides' reports to a table and to doubts."""

import math
import os

import numpy as np

from benchmarks import flops
from benchmarks import rl_report
from benchmarks.sides import side
from tests.benchmarks import tiny


def _report(generate, update, **changes):
  secs = {}
  if generate:
    secs["generate"] = generate
  if update:
    secs["update"] = update
  secs["step"] = [sum(x) for x in zip(*secs.values(), strict=True)]
  middle = lambda x: float(np.median(side.after_warm_up(x)))
  return {
    "parameters": tiny.SIZE.parameters,
    "dtype": "float32",
    "steps": 5,
    "seconds": {name: middle(x) for name, x in secs.items()},
    "all_seconds": secs,
    "first_step_s": secs["step"][0],
    "peak_rss_mib": 100.0,
    "peak_device_mib": None,
    "checks": {"loss": [0.0], "grad_norm": [1.0], "weights_moved": True},
    "versions": {},
    "machine": {"other_load_cpus": 0.0},
    "matmul_flops_per_s": 1e6,
  } | changes


def test_table_pools_the_rounds_and_divides_by_ours():
  # The first two steps of each run are warm-up.
  our_rounds = [
    _report([9.0, 9.0, 1.0, 2.0, 3.0], [9.0, 9.0, 2.0, 2.0, 2.0]),
    _report([9.0, 9.0, 3.0, 2.0, 1.0], [9.0, 9.0, 2.0, 2.0, 2.0]),
  ]
  peer = [_report([5.0, 5.0, 5.0, 5.0, 5.0], [8.0, 8.0, 3.0, 3.0, 3.0])]
  update_alone = [_report(None, [8.0, 8.0, 1.0, 1.0, 1.0])]
  found = rl_report.summary(
    {"ours": our_rounds, "peer": peer, "torch": update_alone}, tiny.SIZE
  )
  assert found["ours"]["seconds"]["generate"] == [1.25, 2.0, 2.75]
  assert found["ours"]["against_ours"] == dict.fromkeys(rl_report.PARTS, 1.0)
  assert found["peer"]["against_ours"] == {
    "generate": 2.5,
    "update": 1.5,
    "step": 2.0,
  }
  # Eight tokens in two seconds.
  assert found["ours"]["tokens_per_s_generate"] == 4.0
  assert found["ours"]["first_step_s"] == 18.0
  share = 3 * flops.forward_flops(tiny.SIZE) / 2.0 / 1e6
  assert math.isclose(found["ours"]["share_of_peak"]["update"], share)
  assert found["torch"]["against_ours"] == {"update": 0.5}
  rows = rl_report.table(found).splitlines()
  cells = [[x.strip() for x in row.split("|")[1:-1]] for row in rows]
  assert len({len(row) for row in cells}) == 1
  assert cells[2][:3] == ["ours", "2.000 [1.250, 2.750]", "1.00"]
  assert cells[3][:3] == ["peer", "5.000 [5.000, 5.000]", "2.50"]
  # No generation, hence no step.
  assert cells[4][:7] == [
    "torch",
    "",
    "",
    "1.000 [1.000, 1.000]",
    "0.50",
    "",
    "",
  ]


def test_what_makes_numbers_no_comparison_is_said():
  steps = [1.0] * 5
  good = {"completion_tokens": [2], "updates": 5, "loss": [0.1]}
  assert not rl_report.doubts(
    {"ours": [_report(steps, steps, checks=good)]}, tiny.SIZE
  )
  busy = {"other_load_cpus": 0.5 * os.cpu_count()}
  bad = _report(
    steps,
    steps,
    parameters=7,
    machine=busy,
    checks={
      "completion_tokens": [1, 2],
      "loss": [math.nan],
      "weights_moved": False,
      "updates": 4,
    },
  )
  sentences = "\n".join(rl_report.doubts({"peer": [bad]}, tiny.SIZE))
  assert sentences.count("peer, round 1") == 6
  for part in (
    "7 parameters, where size tiny has",
    "completions of [1, 2] tokens",
    "loss is not finite",
    "did not move",
    "4 updates in 5 steps",
    "5% of the machine",
  ):
    assert part in sentences
