"""One program compiled ahead of time: what it holds, computes and sends.

The compiler writes down what it does; memory is read from its own report, and
operations from the program as it was split over the devices.
"""

import pathlib
import re
import tempfile
import threading
import time
from typing import Any

import jax

from rlvr_jax import tracing
from rlvr_jax.sizing import costs as costs_lib
from rlvr_jax.sizing import plans as plans_lib

_GIB = 2**30


def plan(name: str, call: tracing.Call, waits: bool = True) -> plans_lib.Plan:
  """Compiles one program.

  Args:
    name: of it.
    call: the program and its arguments.
    waits: for machine code too. A TPU's compiler has planned the memory long
      before, and may write code for many minutes.
  """
  started = time.perf_counter()
  lowered = call.lowered()
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    told = _compiled(lowered, pathlib.Path(folder), waits)
    files = sorted(pathlib.Path(folder).glob("*.txt"))
    secs = time.perf_counter() - started
    costs = costs_lib.counted(split_program(files))
    report = _memory_report(files)
  # Not of the compiled program's own figures: some leave out what comes and
  # goes, and some count in other memories.
  total = _TOTAL.search(report)
  unread = call.unread_bytes(costs.argument_bytes)
  return plans_lib.Plan(
    name=name,
    arguments_gib=costs.argument_bytes / _GIB,
    unread_gib=unread / _GIB,
    peak_gib=(int(total[1]) + unread) / _GIB if total and not told else None,
    needed=told,
    compile_secs=secs,
    costs=costs,
    largest=_largest(report),
  )


def _compiled(
  lowered: jax.stages.Lowered, folder: pathlib.Path, waits: bool
) -> str:
  """Compiles; what the compiler says where it has no room, or ""."""
  failures = []

  def compile_all() -> None:
    try:
      lowered.compile(options(str(folder)))
    except jax.errors.JaxRuntimeError as error:
      failures.append(error)

  thread = threading.Thread(target=compile_all, daemon=True)
  thread.start()
  while thread.is_alive() and (waits or not _is_planned(folder)):
    thread.join(timeout=0.2)
  told = needed(str(failures[0])) if failures else ""
  if failures and not told:
    raise failures[0]
  return told


def _is_planned(folder: pathlib.Path) -> bool:
  """Whether the compiler has written down its plan of the memory."""
  last = [
    x.stat().st_mtime
    for pattern in ("*after_buffer_assignment.txt", "*.debug_options")
    for x in folder.glob(pattern)
  ]
  # The options are written once more at the end.
  return len(last) == 2 and last[0] <= last[1]


_PASS = "spmd-partitioning"
_SPLIT = re.compile(rf"after_(?:tpu-)?{_PASS}\b")


def options(folder: str) -> dict[str, Any]:
  """Of a compiler that is to write down what it does."""
  return {
    "xla_dump_to": folder,
    "xla_dump_hlo_pass_re": f".*{_PASS}",
    "xla_dump_hlo_as_text": True,
  }


def split_program(files: list[pathlib.Path]) -> str:
  """Text of the largest module, as it was when split over the devices."""
  found = [x for x in files if _SPLIT.search(x.name)] or [
    # On a single device there was nothing to split.
    x
    for x in files
    if x.name.endswith("before_optimizations.txt")
  ]
  return max(found, key=lambda x: x.stat().st_size).read_text()


_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_TOTAL = re.compile(r"Memory Space: default .*\nTotal bytes: (\d+)")
_BUFFER = re.compile(r"\(\s*\d+%\);\s*([\d.]+)([KMG]?i?B);[^;]*;[^;]*;\s*(.*)")


def _memory_report(files: list[pathlib.Path]) -> str:
  """What the compiler says of the largest module's memory; "" if nothing."""
  found = [x for x in files if x.name.endswith("memory-usage-report.txt")]
  largest = max(found, key=lambda x: x.stat().st_size, default=None)
  # The first part is of the devices' main memory.
  text = largest.read_text() if largest else ""
  return text.split("\nMemory Space:")[0]


def _largest(report: str) -> tuple[tuple[float, str], ...]:
  """The three largest buffers that the compiler tells of."""
  found: dict[str, float] = {}
  for number, unit, types in _BUFFER.findall(report):
    gib = float(number) * _UNITS[unit] / _GIB
    types = types[:60]
    found[types] = max(gib, found.get(types, 0.0))
  ranked = sorted(((gib, types) for types, gib in found.items()), reverse=True)
  return tuple(ranked[:3])


_NEEDS = re.compile(
  r"the total memory required .*? exceeds available \w+ \([^)]*\)"
  r"|Used [\d.]+\w of [\d.]+\w \w+"
)


def needed(text: str) -> str:
  """What a compiler that ran out of memory says, or ""."""
  if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text:
    return ""
  match = _NEEDS.search(text)
  return match[0] if match else text.splitlines()[0]
