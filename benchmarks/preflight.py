"""Do the papers' runs fit the devices that they would be run on?

python -m benchmarks.preflight [--only NAME]

Calls `rlvr_jax.preflight` for each run of `RUNS` and prints what the programs
of a step hold, compute and transfer on a device. Takes minutes a run, most of
it the compiler's. What is set beside a paper's own settings only says how a
step is cut up, which changes no figure but by rounding; "rlrt_0p6b" is no
paper's run.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

from benchmarks import measurement
from rlvr_jax import summary as summary_lib


class Run(NamedTuple):
  """An experiment on a topology, and how a step is cut up there."""

  config: str
  topology: str
  settings: dict[str, Any]


# Of RLRT: a prompt at a time on each device; where memory is smaller, as many
# samples as said.
_ON_64 = {
  "mesh.fsdp": 64,
  "rollout.rows_per_pass": 512,
  "updates.num_micro_batches": 2,
  "teacher.rows_per_pass": 64,
  "evaluation.batch_prompts": 64,
}


def _on_64_small(samples_decoded: int, samples_updated: int) -> dict[str, Any]:
  settings = {x: _ON_64[x] for x in _ON_64 if x != "rollout.rows_per_pass"}
  return settings | {
    "rollout.slots": 64 * samples_decoded,
    "updates.num_micro_batches": 16 // samples_updated,
  }


RUNS = {
  "paced_rl_1p5b": Run(
    "experiments/paced_rl.py:qwen2p5_math_1p5b",
    "v5e:4x4",
    {"mesh.fsdp": 16, "updates.num_micro_batches": 4},
  ),
  "rlrt_4b": Run("experiments/rlrt.py:qwen3_4b_base", "v5p:4x4x4", _ON_64),
  "rlrt_8b": Run("experiments/rlrt.py:qwen3_8b", "v5p:4x4x4", _ON_64),
  "rlrt_4b_v6e": Run(
    "experiments/rlrt.py:qwen3_4b_base", "v6e:8x8", _on_64_small(4, 2)
  ),
  "rlrt_8b_v6e": Run(
    "experiments/rlrt.py:qwen3_8b", "v6e:8x8", _on_64_small(2, 1)
  ),
  # On one host.
  "rlrt_4b_h100": Run(
    "experiments/rlrt.py:qwen3_4b_base",
    "h100:8",
    {
      "mesh.fsdp": 8,
      "rollout.rows_per_pass": 64,
      "updates.num_micro_batches": 16,
      "teacher.rows_per_pass": 8,
      "evaluation.batch_prompts": 64,
    },
  ),
  # On one chip of a notebook: lengths and batch of our own.
  "rlrt_0p6b": Run(
    "experiments/rlrt.py:qwen3_4b_base",
    "v5e:2x2",
    {
      "model.num_layers": 28,
      "model.width": 1024,
      "model.num_heads": 16,
      "model.mlp_width": 3072,
      "prompts_per_step": 16,
      "rollout.completion_tokens": 1024,
      "rollout.rows_per_pass": 16,
      "data.prompt_tokens": 512,
      "teacher.prompt_tokens": 2048,
      "teacher.rows_per_pass": 8,
      "updates.num_micro_batches": 8,
    },
  ),
  "dapo_32b": Run(
    "experiments/dapo.py:qwen2p5_32b",
    "v5p:8x8x16",
    {
      "mesh.fsdp": 128,
      "mesh.tensor": 8,
      "rollout.rows_per_pass": 2048,
      "evaluation.batch_prompts": 128,
      "warm_start.batch_size": 128,
    },
  ),
}


def settings_flags(run: Run) -> list[str]:
  """The run as flags of `rlvr_jax.preflight`."""
  return [
    f"--config={run.config}",
    f"--topology={run.topology}",
    *(f"--config.{name}={value}" for name, value in run.settings.items()),
  ]


def measured(run: Run, timeout_secs: float) -> dict[str, Any]:
  """What preflight says of a run."""
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / "out.json"
    command = [sys.executable, "-m", "rlvr_jax.preflight", f"--json={out}"]
    done = subprocess.run(
      command + settings_flags(run),
      timeout=timeout_secs,
      capture_output=True,
      text=True,
    )
    if not out.exists():
      raise RuntimeError(done.stderr[-2000:])
    return run._asdict() | json.loads(out.read_text())


def table(found: dict[str, dict[str, Any]]) -> str:
  """A line for each program of each run."""
  rows = []
  for name, run in found.items():
    for x in run["programs"]:
      costs, secs = x["costs"], x["least_secs"]
      bound = max(secs, key=secs.get)
      rows.append(
        [
          f"{name} on {run['topology']}",
          x["name"],
          f"{x['peak_gib']:.1f} GiB" if x["peak_gib"] else x["needed"],
          f"{costs['flops'] / 1e12:,.0f}",
          f"{sum(costs['transfer_bytes'].values()) / 1e9:,.0f} GB",
          f"{secs[bound]:,.1f} s ({bound})",
          f"{secs['products'] / secs[bound]:.0%}",
        ]
      )
  head = "run program peak TFLOP transfers"
  return summary_lib.markdown(
    [*head.split(), "at best", "of peak at most"], rows
  )


def main() -> None:
  """Runs what is asked for, one after another."""
  flags = measurement.parser(__doc__, file="benchmarks/results/preflight.json")
  flags.add_argument("--only", choices=RUNS, action="append")
  flags.add_argument("--timeout-secs", type=float, default=3600.0)
  args = flags.parse_args()
  for name in args.only or RUNS:
    found = {name: measured(RUNS[name], args.timeout_secs)}
    print(table(found), flush=True)
    told = measurement.occasion("cpu") | {"runs": found}
    measurement.append(args.json, told)


if __name__ == "__main__":
  main()
