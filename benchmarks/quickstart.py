"""The main job over several seeds: what is gained, how fast, at what price.

python -m benchmarks.quickstart --json benchmarks/results/quickstart.json

Each seed is a process of its own, from an empty folder, as a newcomer runs it.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import machine
from benchmarks import measurement
from rlvr_jax import summary as summary_lib

_SHOWN = ("pass_at_1", "pass_at_8", "greedy", "distinct_correct", "entropy")


def run_seed(config: str, seed: int) -> dict:
  """Trains one seed; its summary with seconds, steps/s, MiB and load."""
  with tempfile.TemporaryDirectory() as folder:
    started = machine.look()
    process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "rlvr_jax.train",
        f"--config={config}",
        f"--config.seed={seed}",
        f"--workdir={folder}",
      ],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    secs = time.perf_counter() - started.secs
    load = machine.other_load(started)
    if status:
      raise RuntimeError(f"seed {seed} ended with status {status}")
    read = lambda name: (pathlib.Path(folder) / name).read_text()
    result = json.loads(read("summary.json"))
    timing = [json.loads(line) for line in read("timing.jsonl").splitlines()]
  # The first steps compile.
  steps = timing[3:]
  phase = lambda name: statistics.median(line[name] for line in steps)
  rollout, update = phase("rollout_secs"), phase("update_secs")
  return result | {
    "seed": seed,
    "secs": secs,
    "peak_mib": machine.peak_rss_mib(usage),
    "rollout_secs": rollout,
    "update_secs": update,
    "steps_per_sec": 1 / (rollout + update),
    "other_load_cpus": load,
  }


def table(runs: list[dict]) -> str:
  """The runs as Markdown, with means over seeds."""
  head = [f"{name} before → after" for name in _SHOWN]
  head = ["seed", *head, "seconds", "RL steps/s", "peak MiB", "other load"]
  rows = []
  both = lambda run, name: (
    f"{run['before'][name]:.3f} → {run['after'][name]:.3f}"
  )
  for run in runs:
    load = run["other_load_cpus"]
    rows.append(
      [
        str(run["seed"]),
        *(both(run, name) for name in _SHOWN),
        f"{run['secs']:.0f}",
        f"{run['steps_per_sec']:.1f}",
        f"{run['peak_mib']:.0f}",
        "" if load is None else f"{load:.2f}",
      ]
    )
  return summary_lib.markdown(head, rows)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(__doc__)
  flags.add_argument(
    "--experiment",
    default="experiments/grpo.py:tiny",
    help="file and variant (experiments/grpo.py:tiny)",
  )
  measurement.integer(flags, "--first-seed", 0, "the first of them", least=0)
  measurement.integer(flags, "--seeds", 5, "how many seeds")
  return flags


def main() -> None:
  """Runs the seeds one after another and reports."""
  args = arguments().parse_args()
  started, first = machine.look(), args.first_seed
  runs = [
    run_seed(args.experiment, seed) for seed in range(first, first + args.seeds)
  ]
  gains = [r["after"]["pass_at_1"] - r["before"]["pass_at_1"] for r in runs]
  spread = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0
  print(table(runs))
  print(
    f"\npass@1 gain: mean {statistics.mean(gains):+.3f} ± {spread:.3f}"
    f" (standard error over seeds), smallest {min(gains):+.3f}"
  )
  report = measurement.record(
    args, started, mean_gain=statistics.mean(gains), runs=runs
  )
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
