"""Whether a run fits its devices, before there are any.

python -m rlvr_jax.preflight --config=experiments/rlrt.py:qwen3_4b_base \
    --topology=v5p:4x4x4 --config.mesh.fsdp=64 ...

Compiles a step's programs, sampler, teacher and update, for a topology of TPUs
or NVIDIA GPUs, ahead of time and without one, from shapes alone: no weights and
no data are read. Without --topology, for the devices that are here. Prints what
each program holds, computes and transfers, and ends with status 1 where one
does not fit.

Memory is what the compiler plans for one device, and what of the run's state
lies there beside, such as the optimizer's while rollouts are sampled.
Operations and transfers are
counted in the program after it was split over the devices (`costs`), a loop
that may end early at its longest, and what is computed again for a backward
pass as well. "At best" is the longest of what matrix products, memory and links
would each take at their peak, all at once; real steps take longer.

A topology of TPUs is of whole hosts: for a single chip take the smallest, and
leave the mesh at 1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp

from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import launch
from rlvr_jax import programs as programs_lib
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import tracing
from rlvr_jax import verification
from rlvr_jax.data import unread
from rlvr_jax.sizing import chips
from rlvr_jax.sizing import fitting
from rlvr_jax.sizing import planning
from rlvr_jax.sizing import plans as plans_lib
from rlvr_jax.sizing import targets

_CONFIG = launch.define_config_flag()
_TOPOLOGY = flags.DEFINE_string(
  "topology",
  "",
  "TPUs or NVIDIA GPUs, such as v5e:4x4, h100:8 or h200:4x8; empty: the devices"
  " that are here.",
)
_PROMPTS = flags.DEFINE_integer(
  "num_prompts", 20_000, "Training problems of a task from files."
)
_JSON = flags.DEFINE_string("json", "", "Where the figures go as JSON.")
_FIT = flags.DEFINE_string(
  "fit",
  "",
  "A setting to choose: the largest rollout.completion_tokens or"
  " prompts_per_step that fits, or the fewest updates.num_micro_batches.",
)
_FULL_EFFORT = flags.DEFINE_bool(
  "full_effort",
  False,
  "Wait for the machine code too, many minutes for a large update: shows that"
  " every kernel compiles.",
)
_PROGRAM = flags.DEFINE_string(
  "program", "", "The one program to plan; its plan goes to --json as it is."
)
STATUS_DOES_NOT_FIT = 1
# What a step calls once and that takes neither time nor memory.
_SMALL = ("plan", "pool")


def calls(
  experiment: experiment_lib.Experiment,
  mesh: jax.sharding.Mesh,
  num_prompts: int,
) -> dict[str, tracing.Call]:
  """A step's programs that take time or memory, by name.

  Args:
    experiment: what is to be run; its problems are from files.
    mesh: of devices that need not exist.
    num_prompts: training problems.

  Raises:
    errors.UserError: if the problems are not from files.
  """
  run = experiment.run
  settings.require(
    verification.reads_texts(run.data.verifier),
    f"config.data.verifier is {run.data.verifier!r}, of a task that is built"
    " where it runs: preflight is for problems from files",
  )
  task = unread.task(run.data, run.model.vocab_size, num_prompts)
  judge = lambda rollouts: jnp.zeros(rollouts.valid.shape, jnp.int32)
  programs = programs_lib.make_programs(experiment, task, mesh, judge)
  traced = tracing.trace(programs)
  return {name: x for name, x in traced.items() if name not in _SMALL}


def plans_apart(
  names: Iterable[str], overrides: Sequence[str] = ()
) -> Iterator[plans_lib.Plan]:
  """Plans of this program's flags, each made by a process of its own.

  Machine code of one program may still be written when the next is compiled,
  and two compilations at a time have ended a TPU's compiler by a segfault.

  Args:
    names: of the programs.
    overrides: further flags.

  Raises:
    errors.UserError: if a process ended without a plan.
  """
  for name in names:
    with tempfile.TemporaryDirectory() as folder:
      out = pathlib.Path(folder) / "plan.json"
      command = [sys.executable, "-m", "rlvr_jax.preflight", *sys.argv[1:]]
      own = [*overrides, "--fit=", f"--program={name}", f"--json={out}"]
      done = subprocess.run(
        [*command, *own], capture_output=True, text=True, check=False
      )
      if not out.exists():
        told = done.stderr.strip().splitlines() or ["it said nothing"]
        raise errors.UserError(
          f"{name} could not be compiled, status {done.returncode}:"
          f" {told[-1].removeprefix('error: ')}"
        )
      yield plans_lib.from_json(out.read_text())


def fitted(
  config: Mapping[str, Any],
  name: str,
  mesh: jax.sharding.Mesh,
  memory_gib: float | None,
) -> int | None:
  """The value of a setting that fits best; None where none does.

  Args:
    config: of the experiment.
    name: out of `fitting.SETTINGS`.
    mesh: as in `plans`.
    memory_gib: of a device.
  """

  def fits_at(value: int) -> bool | None:
    try:
      experiment = experiment_lib.load(
        fitting.with_setting(config, name, value)
      )
    except errors.UserError:
      # A number of passes that does not split the batch evenly.
      return None
    only = "train_step" if name == "updates.num_micro_batches" else ""
    found = _plans(experiment, mesh, only, [f"--config.{name}={value}"])
    # Stops at the first that does not fit.
    is_fit = all(plans_lib.fits([x], memory_gib) for x in found)
    said = "fits" if is_fit else "does not fit"
    print(f"{name} {value}: {said}", flush=True)
    return is_fit

  if fitting.SETTINGS[name]:
    unit = fitting.unit(config, name)
    return fitting.largest(fits_at, fitting.read(config, name), unit)
  run = experiment_lib.load(config).run
  rows = run.prompts_per_step * run.rollout.num_generations
  return fitting.fewest(fits_at, rows)


def _plans(
  experiment: experiment_lib.Experiment,
  mesh: jax.sharding.Mesh,
  only: str = "",
  overrides: Sequence[str] = (),
) -> Iterator[plans_lib.Plan]:
  """The plans of all programs, or of one."""
  found = calls(experiment, mesh, _PROMPTS.value)
  chosen = {k: x for k, x in found.items() if only in ("", k)}
  if _waits():
    return (planning.plan(name, call) for name, call in chosen.items())
  return plans_apart(chosen, overrides)


def _waits() -> bool:
  """Whether machine code is waited for; a TPU's alone takes many minutes."""
  topology = _TOPOLOGY.value
  return _FULL_EFFORT.value or not topology or targets.is_of_gpus(topology)


def _write_plan(experiment, mesh) -> None:
  """Plans one program, and leaves its machine code alone."""
  found = calls(experiment, mesh, _PROMPTS.value)
  planned = planning.plan(_PROGRAM.value, found[_PROGRAM.value], waits=False)
  pathlib.Path(_JSON.value).write_text(plans_lib.to_json(planned))
  sys.stdout.flush()
  os._exit(0)


def main() -> None:
  """Compiles and reports."""
  config = launch.config(_CONFIG)
  if _FIT.value:
    fitting.checked(_FIT.value)
  experiment = experiment_lib.load(config)
  run = experiment.run
  if _TOPOLOGY.value:
    # What is compiled for is not what it is compiled on.
    jax.config.update("jax_platforms", "cpu")
    # A program for devices that are not there is not read back from disk.
    jax.config.update("jax_enable_compilation_cache", False)
  topology = _TOPOLOGY.value
  devices = targets.devices_of(topology) if topology else jax.devices()
  mesh = sharding.make_mesh(run.mesh, devices)
  if _PROGRAM.value:
    _write_plan(experiment, mesh)
  kind = devices[0].device_kind
  chip = chips.CHIPS.get(kind)
  memory_gib = chip.memory_gib if chip else None
  print(
    f"{mesh.size} of {len(devices)} devices ({kind}"
    + (f", {memory_gib} GiB each)" if memory_gib else ")")
    + f", mesh {dict(mesh.shape)}",
    flush=True,
  )
  overrides = []
  if _FIT.value:
    value = fitted(config, _FIT.value, mesh, memory_gib)
    settings.require(
      value is not None,
      f"no {_FIT.value} fits on {_TOPOLOGY.value or kind}: take more devices,"
      " or split parameters over more of them with config.mesh.fsdp",
    )
    print(f"fits with --config.{_FIT.value}={value}", flush=True)
    config = fitting.with_setting(config, _FIT.value, value)
    experiment = experiment_lib.load(config)
    overrides = [f"--config.{_FIT.value}={value}"]
  found = []
  for x in _plans(experiment, mesh, overrides=overrides):
    found.append(x)
    print(f"compiled {x.name} in {x.compile_secs:.0f} s", flush=True)
  print(plans_lib.table(found, memory_gib))
  print(plans_lib.work_table(found, chip))
  print(plans_lib.details(found))
  is_fit = plans_lib.fits(found, memory_gib)
  print("fits" if is_fit else "does not fit")
  if _JSON.value:
    report = {
      "devices": len(devices),
      "device_kind": kind,
      "mesh": dict(mesh.shape),
      "memory_gib": memory_gib,
      "fits": is_fit,
      "programs": [plans_lib.record(x, chip) for x in found],
    }
    pathlib.Path(_JSON.value).write_text(json.dumps(report, indent=1) + "\n")
  sys.exit(0 if is_fit else STATUS_DOES_NOT_FIT)


if __name__ == "__main__":
  launch.run(main)
