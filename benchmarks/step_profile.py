"""Where the time of a step goes: matrix products, and what lies between them.

python -m benchmarks.step_profile --size S --micro-batches 8
taskset -c 0 python -m benchmarks.step_profile --size S --micro-batches 8

Steps of our loop on a CPU under JAX's profiler. Every operation that the
sampler's and the update's program run is counted as a product, a sum, a move
or element by element, by what the compiled text says that it computes. Beside
the time of products stands the least: their own operations at the speed of
plain matrix products in the same process. Under taskset both are those of one
core.

On several cores operations may wait for one another while they run, and their
times then sum to more than the program's: how the time is shared out is best
read of one core.
"""

import argparse
import collections
from collections.abc import Iterable
import dataclasses
import gzip
import json
import pathlib
import statistics
import tempfile
import time
from typing import Any, NamedTuple

import jax

from benchmarks import machine
from benchmarks import measurement
from benchmarks import workload
from benchmarks.sides import lab_runs
from benchmarks.sides import matmul_peak
from benchmarks.sides import side
from rlvr_jax import gather
from rlvr_jax import programs as programs_lib
from rlvr_jax import sharding
from rlvr_jax import summary
from rlvr_jax import tracing
from rlvr_jax.data import tasks
from rlvr_jax.sizing import costs
from rlvr_jax.sizing import hlo_text

PRODUCTS, SUMS, MOVES, ELEMENTS = KINDS = (
  "matrix products",
  "sums and maxima",
  "moves",
  "element by element",
)
_MOVING = {
  *("bitcast", "broadcast", "concatenate", "constant", "copy"),
  *("dynamic-slice", "dynamic-update-slice", "gather", "get-tuple-element"),
  *("iota", "pad", "parameter", "reshape", "scatter", "slice", "transpose"),
  "tuple",
}
_SUMMING = {"reduce", "reduce-window"}
# What others run in: their time is that of the others.
_FRAMES = {"call", "conditional", "while"}
# Programs of a step that are looked at, by their names in `tracing.trace`.
_PROGRAMS = {"collect": "sampling", "train_step": "update"}


class Operation(NamedTuple):
  """An instruction that a program runs.

  Attributes:
    kind: one of KINDS.
    flops: of its matrix products.
  """

  kind: str
  flops: float


class Program(NamedTuple):
  """A program of a step.

  Attributes:
    secs: of a step, without the profiler.
    operations: kind -> operations of a step.
    busy_secs: kind -> seconds of a step, under the profiler.
    flops: of the matrix products of a step.
  """

  secs: float
  operations: dict[str, float]
  busy_secs: dict[str, float]
  flops: float


def operations(text: str) -> dict[str, Operation]:
  """Operations of a compiled program by their names in a trace."""
  computations, _ = hlo_text.read(text)
  found = {}
  for instructions in computations.values():
    by_name = {x.name: x for x in instructions}
    for x in instructions:
      inside, names = [x], by_name
      if called := costs.called_by(x):
        inside = computations[called]
        names = {y.name: y for y in inside}
      if x.opcode not in _FRAMES:
        found[x.name] = _operation(inside, names)
  return found


def _operation(inside: Iterable[hlo_text.Instruction], by_name) -> Operation:
  products = [x for x in inside if x.opcode == "dot"]
  if products:
    flops = sum(costs.product_flops(x, by_name) for x in products)
    return Operation(PRODUCTS, flops)
  opcodes = {x.opcode for x in inside}
  if opcodes & _SUMMING:
    return Operation(SUMS, 0.0)
  return Operation(MOVES if opcodes <= _MOVING else ELEMENTS, 0.0)


def events(folder: pathlib.Path) -> dict[str, dict[str, list[float]]]:
  """Seconds of every operation in a trace, by program and name."""
  (file,) = folder.rglob("*.trace.json.gz")
  with gzip.open(file, "rt", encoding="utf-8") as lines:
    held = json.load(lines)["traceEvents"]
  found = collections.defaultdict(lambda: collections.defaultdict(list))
  for event in held:
    told = event.get("args", {})
    if "hlo_op" in told:
      found[told["hlo_module"]][told["hlo_op"]].append(event["dur"] / 1e6)
  return found


def summed(
  text: str, secs: float, traced: dict[str, list[float]], steps: int
) -> Program:
  """What a program of a step does, from its text and its trace.

  Args:
    text: compiled.
    secs: that a step took without the profiler.
    traced: seconds of each call by name of the operation.
    steps: in the trace.
  """
  known = operations(text)
  numbers, busy = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
  flops = 0.0
  for name, calls in traced.items():
    if name in known:
      kind, own = known[name]
      numbers[kind] += len(calls) / steps
      busy[kind] += sum(calls) / steps
      flops += own * len(calls) / steps
  return Program(secs, numbers, busy, flops)


def measure(size: workload.Size, steps: int) -> dict[str, Program]:
  """The programs of some steps, after three that compile and settle."""
  experiment = lab_runs.experiment(size, 0)
  # What is looked at is one sampler, not several at once.
  run = dataclasses.replace(experiment.run, sampling_threads=1)
  experiment = experiment._replace(run=run)
  with tempfile.TemporaryDirectory() as folder:
    task = tasks.load_task(
      run.data, run.rollout.completion_tokens, pathlib.Path(folder)
    )
  programs = programs_lib.make_programs(
    experiment, task, sharding.make_mesh(run.mesh)
  )
  calls = tracing.trace(programs)
  texts = {
    name: calls[name].lowered().compile().as_text() for name in _PROGRAMS
  }
  state, prompts = programs.train.fresh(), programs.task.train.prompts

  def step(state):
    started = time.perf_counter()
    state, rollouts, replayed, _ = gather.gather(run, programs, state, prompts)
    jax.block_until_ready(rollouts)
    sampled = time.perf_counter()
    state, _ = programs.train_step(state, rollouts, replayed)
    jax.block_until_ready(state)
    return state, (sampled - started, time.perf_counter() - sampled)

  secs = []
  for _ in range(3 + steps):
    state, found = step(state)
    secs.append(found)
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      for _ in range(steps):
        state, _ = step(state)
    traced = events(pathlib.Path(folder))
  medians = [statistics.median(x) for x in zip(*secs[3:], strict=True)]
  return {
    told: summed(texts[name], secs, traced[_module(texts[name])], steps)
    for (name, told), secs in zip(_PROGRAMS.items(), medians, strict=True)
  }


def _module(text: str) -> str:
  """The name of a program in a trace: text begins "HloModule NAME, "."""
  return text.split(",", 1)[0].split()[1]


def table(found: dict[str, Program], flops_per_s: float) -> str:
  """The programs as Markdown."""
  rows = []
  for name, program in found.items():
    busy = sum(program.busy_secs.values())
    least = program.flops / flops_per_s
    rows.append([name, "all", "", f"{1e3 * program.secs:.1f}", "", ""])
    for kind in KINDS:
      secs = program.busy_secs[kind]
      rows.append(
        ["", kind, f"{program.operations[kind]:.0f}", f"{1e3 * secs:.1f}"]
        + [f"{secs / busy:.0%}"]
        + [f"{1e3 * least:.1f}" if kind == PRODUCTS else ""]
      )
  head = ["program", "operations", "number", "ms", "share", "least ms"]
  return summary.markdown(head, rows)


def report(args: argparse.Namespace, started: machine.Look) -> dict[str, Any]:
  """Measures, prints, and returns what is recorded."""
  size = side.size_of(args)
  found = measure(size, args.steps)
  flops_per_s = matmul_peak.measure(size, "float32")
  print(table(found, flops_per_s))
  print(f"\nplain matrix products: {flops_per_s / 1e9:.0f} GFLOP/s")
  programs = {name: program._asdict() for name, program in found.items()}
  return measurement.record(
    args,
    started,
    flops_per_s=flops_per_s,
    programs=programs,
  )


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, file="benchmarks/results/step_profile.json"
  )
  flags.add_argument("--size", choices=list(workload.SIZES), default="S")
  measurement.integer(flags, "--steps", 6, "steps under the profiler")
  measurement.integer(flags, "--micro-batches", None, "passes of an update")
  return flags


def main() -> None:
  """Profiles and reports."""
  args = arguments().parse_args()
  measurement.append(args.json, report(args, machine.look()))


if __name__ == "__main__":
  main()
