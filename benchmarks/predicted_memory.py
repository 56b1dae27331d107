"""Does a program take the memory that preflight says?

python -m benchmarks.predicted_memory

Compiles a step's programs for the CPU of a model of 54 million parameters as
`rlvr_jax.preflight` does, calls each in a process of its own with arrays of
ones, and compares the growth of the process with what was predicted.
"""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import machine
from benchmarks import measurement
from experiments import rlrt
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import preflight
from rlvr_jax import sharding
from rlvr_jax import summary as summary_lib
from rlvr_jax import tracing
from rlvr_jax.sizing import planning

PROGRAMS = ("collect", "teach", "train_step")


def calls() -> dict[str, tracing.Call]:
  """Programs of RLRT on a small model, from shapes alone."""
  config = rlrt.get_config("qwen3_4b_base")
  config.model.update(
    num_layers=12,
    width=512,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
    mlp_width=1536,
    vocab_size=32_768,
    dtype="float32",
  )
  config.prompts_per_step = 8
  config.rollout.update(num_generations=8, completion_tokens=128)
  config.data.prompt_tokens = 64
  config.teacher.update(prompt_tokens=256, rows_per_pass=16)
  experiment = experiment_lib.load(config.to_dict())
  mesh = sharding.make_mesh(experiment.run.mesh, jax.devices()[:1])
  return preflight.calls(experiment, mesh, num_prompts=100)


def measured(name: str) -> dict[str, float]:
  """Predicted and measured bytes of one program, called in this process."""
  call = calls()[name]
  compiled = call.lowered().compile()
  plan = planning.plan(name, call)
  before = _resident("VmRSS")
  # Forgets the peak of compiling.
  pathlib.Path("/proc/self/clear_refs").write_text("5")
  # Ones, so that every page is really there.
  args = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), call.args)
  jax.block_until_ready(compiled(*args))
  # Where the program does not take the whole state, the rest is not here.
  given = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(args))
  absent = max(call.unread_bytes(given), 0)
  return {
    "predicted": plan.peak_gib * 2**30,
    "measured": _resident("VmHWM") - before + absent,
  }


def _resident(field: str) -> int:
  """Bytes of this process, by the kernel."""
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(field):
      return int(line.split()[1]) * 1024
  raise RuntimeError(f"the kernel does not tell {field}")


def _in_a_process(name: str) -> dict[str, float]:
  done = subprocess.run(
    [sys.executable, "-m", "benchmarks.predicted_memory", "--program", name],
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(done.stdout.splitlines()[-1])


def report(found: dict[str, dict[str, Any]]) -> str:
  """A line for each program."""
  mib = lambda x: f"{x / 2**20:,.0f} MiB"
  rows = [
    (
      name,
      mib(x["predicted"]),
      mib(x["measured"]),
      f"{x['measured'] / x['predicted']:.2f}",
    )
    for name, x in found.items()
  ]
  return summary_lib.markdown(
    ["program", "predicted", "measured", "ratio"], rows
  )


def main() -> None:
  """Measures each program, or the one that a child is asked for."""
  flags = measurement.parser(
    __doc__, file="benchmarks/results/predicted_memory.json"
  )
  flags.add_argument("--program", choices=PROGRAMS, help="in this process")
  args = flags.parse_args()
  if args.program:
    print(json.dumps(measured(args.program)))
    return
  started = machine.look()
  found = {name: _in_a_process(name) for name in PROGRAMS}
  print(report(found))
  measurement.append(
    args.json, measurement.record(args, started, programs=found)
  )


if __name__ == "__main__":
  main()
