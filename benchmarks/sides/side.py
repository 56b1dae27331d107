"""What all sides share: command line, clocks, the JSON report."""

import argparse
from collections.abc import Callable
import contextlib
import functools
import json
import pathlib
import statistics
import sys
import time

from benchmarks import machine
from benchmarks import sides
from benchmarks import workload

# Steps that compile, allocate or tune, left out of medians.
WARM_UP_STEPS = 2


def parser(description: str) -> argparse.ArgumentParser:
  """Flags of every side; a side may add its own."""
  flags = argparse.ArgumentParser(description=description)
  flags.add_argument("--size", choices=list(workload.SIZES), default="S")
  flags.add_argument(
    "--steps", type=int, default=8, help="GRPO steps, warm-up included"
  )
  flags.add_argument("--json", default="", help="where the report goes")
  flags.add_argument(
    "--micro-batches",
    type=int,
    help="forward and backward passes of an update; left out: the size's own",
  )
  add_dtype(flags)
  return flags


def add_dtype(flags: argparse.ArgumentParser) -> None:
  """Adds the flag that `dtype_of` reads."""
  flags.add_argument(
    "--dtype",
    choices=("auto", "float32", "bfloat16"),
    default="auto",
    help="auto: float32 on a CPU, bfloat16 elsewhere",
  )


def size_of(args: argparse.Namespace) -> workload.Size:
  """The size that the flags describe."""
  try:
    return workload.with_micro_batches(
      workload.SIZES[args.size], args.micro_batches
    )
  except ValueError as error:
    sys.exit(str(error))


def dtype_of(args: argparse.Namespace, is_cpu: bool) -> str:
  """The name of the type that the flags describe."""
  if args.dtype != "auto":
    return args.dtype
  return "float32" if is_cpu else "bfloat16"


class Clock:
  """Seconds by name, one entry a step.

  Attributes:
    wait: returns when the device has nothing left to do.
    secs: by name, in order.
  """

  def __init__(self, wait: Callable[[], object] = lambda: None):
    self.wait = wait
    self.secs: dict[str, list[float]] = {}

  @contextlib.contextmanager
  def span(self, name: str):
    """Times its block."""
    self.wait()
    started = time.perf_counter()
    yield
    self.wait()
    self.add(name, time.perf_counter() - started)

  def timed(self, name: str, function: Callable) -> Callable:
    """The function, each call of it timed."""

    @functools.wraps(function)
    def call(*args, **kwargs):
      with self.span(name):
        return function(*args, **kwargs)

    return call

  def add(self, name: str, secs: float) -> None:
    self.secs.setdefault(name, []).append(secs)

  def add_rest(self, name: str, whole: str, part: str) -> None:
    """What the last `whole` took beside its `part`."""
    self.add(name, self.secs[whole][-1] - self.secs[part][-1])


def after_warm_up(secs: list[float]) -> list[float]:
  """Without the first steps; of few steps the last alone."""
  return secs[min(WARM_UP_STEPS, len(secs) - 1) :]


def report(
  args: argparse.Namespace,
  size: workload.Size,
  clock: Clock,
  *,
  name: str,
  device: str,
  dtype: str,
  parameters: int,
  packages: tuple[str, ...],
  checks: dict[str, object],
  peak_device_mib: float | None = None,
) -> dict:
  """The report of a side, as far as all have one.

  Args:
    args: of `parser`.
    size: of `size_of`.
    clock: with "step", and "generate" and "update" where the side has them.
    name: of the side.
    device: what it ran on.
    dtype: what it computed in.
    parameters: how many the side's model has.
    packages: whose versions to tell.
    checks: what shows that the work was done.
    peak_device_mib: most memory held on an accelerator.
  """
  secs = {
    name: statistics.median(after_warm_up(values))
    for name, values in clock.secs.items()
  }
  rate = lambda part: (
    size.generated_tokens / secs[part] if part in secs else None
  )
  return {
    "side": name,
    "size": size.name,
    "micro_batches": size.micro_batches,
    "device": device,
    "dtype": dtype,
    "parameters": parameters,
    "steps": args.steps,
    "seconds": secs,
    "all_seconds": clock.secs,
    "tokens_per_s_generate": rate("generate"),
    "tokens_per_s_step": rate("step"),
    "first_step_s": clock.secs["step"][0],
    "wall_s": time.perf_counter() - sides.STARTED.secs,
    "peak_rss_mib": machine.peak_rss_mib(),
    "peak_device_mib": peak_device_mib,
    "checks": checks,
    "versions": machine.versions(packages),
    "machine": machine.description()
    | {"other_load_cpus": machine.other_load(sides.STARTED)},
  }


def write(args: argparse.Namespace, report: dict) -> None:
  """Writes a report, and says in a line what is in it."""
  text = json.dumps(report, indent=1)
  if args.json:
    pathlib.Path(args.json).write_text(text + "\n")
  else:
    print(text)
  secs = ", ".join(f"{k} {v:.3f} s" for k, v in report["seconds"].items())
  print(f"{report['side']}, size {report['size']}: {secs}", file=sys.stderr)
  if warning := machine.warning(report["machine"]["other_load_cpus"]):
    print(warning, file=sys.stderr)
