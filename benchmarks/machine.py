"""What a measurement says of its machine: load, memory, versions.

Imported by the peers' interpreters too, hence the standard library alone.
"""

from importlib import metadata
import os
import pathlib
import platform
import resource
import sys
import time
from typing import NamedTuple

# Share of the machine that other processes may take before a warning.
LOADED_SHARE = 0.05


class Look(NamedTuple):
  """Clocks at one moment, in seconds.

  Attributes:
    secs: wall clock.
    busy_secs: CPU time of all processes together; None where unknown.
    own_secs: CPU time of this process and of its children that have ended.
  """

  secs: float
  busy_secs: float | None
  own_secs: float


def look() -> Look:
  """The clocks now."""
  return Look(time.perf_counter(), _busy_secs(), sum(os.times()[:4]))


def _busy_secs() -> float | None:
  try:
    first_line = pathlib.Path("/proc/stat").read_text().splitlines()[0]
  except OSError:
    return None
  fields = [int(x) for x in first_line.split()[1:9]]
  idle, waiting = fields[3:5]
  return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def other_load(since: Look) -> float | None:
  """CPUs that other processes kept busy since a look, on average."""
  now = look()
  if now.busy_secs is None or since.busy_secs is None:
    return None
  busy = now.busy_secs - since.busy_secs - (now.own_secs - since.own_secs)
  return max(0.0, busy / (now.secs - since.secs))


def is_loaded(cpus: float | None) -> bool:
  """Whether others took more of the machine than times can be trusted with."""
  return (cpus or 0.0) > LOADED_SHARE * (os.cpu_count() or 1)


def warning(cpus: float | None) -> str:
  """A sentence for a loaded machine, "" for an idle one."""
  if not is_loaded(cpus):
    return ""
  return (
    f"other processes keep {cpus:.2f} of {os.cpu_count()} CPUs busy, more than"
    f" {LOADED_SHARE:.0%} of the machine: times are not those of an idle one"
  )


def wait_until_idle(limit_secs: float, look_secs: float = 2.0) -> float | None:
  """Waits for other processes to end; the load at the end.

  Args:
    limit_secs: longest wait; 0 looks once.
    look_secs: how long each look lasts.
  """
  end = time.monotonic() + limit_secs
  while True:
    started = look()
    time.sleep(look_secs)
    load = other_load(started)
    if not is_loaded(load) or time.monotonic() >= end:
      return load


def peak_rss_mib(usage: resource.struct_rusage | None = None) -> float:
  """Most memory that a process has held; without its usage, this one."""
  usage = usage or resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def versions(names: tuple[str, ...]) -> dict[str, str]:
  """Of Python and of those packages that are installed."""
  found = {"python": platform.python_version()}
  for name in names:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return found


def description() -> dict[str, object]:
  """The machine, and how much of it this process may use."""
  usable = os.cpu_count()
  if hasattr(os, "sched_getaffinity"):
    usable = len(os.sched_getaffinity(0))
  return {
    "processor": _processor(),
    "architecture": platform.machine(),
    "cpus": os.cpu_count(),
    "usable_cpus": usable,
    "load_average": os.getloadavg()[0],
  }


def _processor() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor()
  names = [x.split(":", 1)[1].strip() for x in lines if "model name" in x]
  return names[0] if names else platform.processor()
