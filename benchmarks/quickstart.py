"""The main job over several seeds: what is gained, how fast, at what price.

python -m benchmarks.quickstart --out=benchmarks/results/quickstart.json

Each seed is a process of its own, from an empty folder, as a newcomer runs it.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
import jax

_CONFIG = flags.DEFINE_string(
  "experiment", "experiments/grpo.py:tiny", "Experiment file and variant."
)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "", "Where the JSON goes; empty: nowhere.")

_SHOWN = ("pass_at_1", "pass_at_8", "greedy", "distinct_correct", "entropy")


def run_seed(seed: int) -> dict:
  """Trains one seed; its summary with seconds, steps/s, MiB and load."""
  with tempfile.TemporaryDirectory() as folder:
    busy, started = _other_busy_secs(), time.perf_counter()
    process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "rlvr_jax.train",
        f"--config={_CONFIG.value}",
        f"--config.seed={seed}",
        f"--workdir={folder}",
      ],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    secs = time.perf_counter() - started
    if status:
      raise RuntimeError(f"seed {seed} ended with status {status}")
    read = lambda name: (pathlib.Path(folder) / name).read_text()
    result = json.loads(read("summary.json"))
    timing = [json.loads(line) for line in read("timing.jsonl").splitlines()]
  own = usage.ru_utime + usage.ru_stime
  # The first steps compile.
  steps = timing[3:]
  phase = lambda name: statistics.median(line[name] for line in steps)
  rollout, update = phase("rollout_secs"), phase("update_secs")
  return result | {
    "seed": seed,
    "secs": secs,
    "peak_mib": usage.ru_maxrss / 1024,
    "rollout_secs": rollout,
    "update_secs": update,
    "steps_per_sec": 1 / (rollout + update),
    "other_load_cpus": (_other_busy_secs() - busy - own) / secs,
  }


def _other_busy_secs() -> float:
  """CPU seconds that the machine has been busy for, whoever kept it so."""
  with open("/proc/stat", encoding="ascii") as file:
    fields = [int(x) for x in file.readline().split()[1:]]
  user, nice, system, _, _, irq, softirq, steal = fields[:8]
  ticks = user + nice + system + irq + softirq + steal
  return ticks / os.sysconf("SC_CLK_TCK")


def table(runs: list[dict]) -> str:
  """The runs as Markdown, with means over seeds."""
  head = [f"{name} before → after" for name in _SHOWN]
  head = ["seed", *head, "seconds", "RL steps/s", "peak MiB", "other load"]
  rows = [head, ["---"] * len(head)]
  both = lambda run, name: (
    f"{run['before'][name]:.3f} → {run['after'][name]:.3f}"
  )
  for run in runs:
    rows.append(
      [
        str(run["seed"]),
        *(both(run, name) for name in _SHOWN),
        f"{run['secs']:.0f}",
        f"{run['steps_per_sec']:.1f}",
        f"{run['peak_mib']:.0f}",
        f"{run['other_load_cpus']:.2f}",
      ]
    )
  return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(argv):
  """Runs the seeds one after another and reports."""
  del argv
  first = _FIRST_SEED.value
  runs = [run_seed(seed) for seed in range(first, first + _SEEDS.value)]
  gains = [r["after"]["pass_at_1"] - r["before"]["pass_at_1"] for r in runs]
  spread = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0
  print(table(runs))
  print(
    f"\npass@1 gain: mean {statistics.mean(gains):+.3f} ± {spread:.3f}"
    f" (standard error over seeds), smallest {min(gains):+.3f}"
  )
  if _OUT.value:
    report = {
      "experiment": _CONFIG.value,
      "date": time.strftime("%Y-%m-%d"),
      "cpus": os.cpu_count(),
      "machine": platform.machine(),
      "python": platform.python_version(),
      "jax": jax.__version__,
      "mean_gain": statistics.mean(gains),
      "runs": runs,
    }
    pathlib.Path(_OUT.value).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
  app.run(main)
