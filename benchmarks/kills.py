"""Training processes that are killed: when, and what the kill hit.

What a process is doing is read off its folder: which files it has made anew,
and which checkpoints lie there unfinished.
"""

from collections.abc import Iterator, Mapping
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks import runs
from rlvr_jax import workdir as workdir_lib

WRITING, CLOSING = "save: writing", "save: closing"
# One kill in so many is aimed at a save, at most so many saves from now.
_AIMED_EVERY = 3
_SAVES_AHEAD = 3
_LOOK_SECS = 5e-4
_LIMIT_SECS = 600


class Instant(NamedTuple):
  """When a process is to be killed.

  Example: Instant(share=0.4) is after 0.4 of a run's time; Instant(0.4, 1) is
  after 0.4 of a save's time, in the second save; Instant(0.4, 1, True) is in
  the end of that save, when the checkpoint has its name and does not count yet.
  """

  share: float
  save: int | None = None
  is_late: bool = False


class Usual(NamedTuple):
  """Seconds of an undisturbed run, and of one of its saves."""

  run_secs: float
  save_secs: float


class Kill(NamedTuple):
  """What a kill hit.

  Attributes:
    phase: of the process, see `phase`.
    secs: since the process was started.
    lines: of metrics.jsonl at that moment.
    is_aimed: whether it waited for a save.
  """

  phase: str
  secs: float
  lines: int
  is_aimed: bool


class Run(NamedTuple):
  """A run that can be started again and again.

  Attributes:
    folder: its --workdir; its log lies beside it.
    command: that starts and resumes it.
    environment: of the process.
  """

  folder: pathlib.Path
  command: tuple[str, ...]
  environment: Mapping[str, str]

  @property
  def log(self) -> pathlib.Path:
    """What its processes say, one after another."""
    return self.folder.with_suffix(".log")


def make_run(
  folder: pathlib.Path,
  config: str,
  overrides: Mapping[str, Any],
  cache: pathlib.Path,
) -> Run:
  """A run in a folder; `cache` holds what any of them compiles."""
  command = runs.command(folder, config, overrides)
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return Run(folder, tuple(command), environment)


def instant(draws: random.Random, kills_before: int) -> Instant:
  """The next: every third is in a save, every other of these late in it."""
  share, save = draws.random(), draws.randrange(_SAVES_AHEAD)
  turn, place = divmod(kills_before, _AIMED_EVERY)
  if place < _AIMED_EVERY - 1:
    return Instant(share)
  return Instant(share, save, is_late=turn % 2 == 1)


@contextlib.contextmanager
def started(run: Run) -> Iterator[subprocess.Popen]:
  """A process of the run, the first of a group that does not outlive this."""
  run.log.parent.mkdir(parents=True, exist_ok=True)
  with open(run.log, "a", encoding="utf-8") as log:
    process = subprocess.Popen(
      run.command,
      stdout=log,
      stderr=log,
      env=run.environment,
      start_new_session=True,
    )
  try:
    yield process
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# Name or path -> what changes when it is made anew.
Marks = Mapping[str, tuple[int, int]]


def marks(folder: pathlib.Path) -> Marks:
  """Of what tells how far a process has come, and of unfinished saves."""
  found = {}
  for name in (
    workdir_lib.WARM_START_METRICS,
    workdir_lib.METRICS,
    workdir_lib.SUMMARY,
  ):
    found |= _mark(folder / name, name)
  for group in (
    workdir_lib.WARM_START,
    workdir_lib.EMBEDDINGS,
    workdir_lib.CHECKPOINTS,
  ):
    for path in _entries(folder / group):
      if not (path / "checksums.json").exists():
        found |= _mark(path, f"{group}/{path.name}")
  return found


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
  try:
    return list(folder.iterdir())
  except FileNotFoundError:
    return []


def _mark(path: pathlib.Path, name: str) -> Marks:
  try:
    status = path.stat()
  except FileNotFoundError:
    return {}
  if path.is_dir():
    return {name: (status.st_ino, status.st_ctime_ns)}
  # A file that is appended to stays the same file.
  return {name: (status.st_ino, 0)}


def phase(before: Marks, now: Marks) -> str:
  """Where a process is.

  Args:
    before: of the folder when it was started.
    now: of the folder.

  Returns:
    "start-up", "warm start", "loop" or "end"; or WRITING before Orbax gives a
    checkpoint its name, and CLOSING until it counts and what it replaces is
    gone.
  """
  new = {name for name, mark in now.items() if before.get(name) != mark}
  if workdir_lib.METRICS in new:
    groups = (workdir_lib.CHECKPOINTS,)
  elif workdir_lib.WARM_START_METRICS in new:
    groups = (workdir_lib.WARM_START, workdir_lib.EMBEDDINGS)
  else:
    # Until then what lies unfinished is of earlier processes.
    return "start-up"
  saving = {x.split("/")[1] for x in new if x.startswith(groups) and "/" in x}
  if any(name.isdigit() for name in saving):
    return CLOSING
  if saving:
    return WRITING
  if workdir_lib.SUMMARY in new:
    return "end"
  return "loop" if workdir_lib.METRICS in new else "warm start"


def is_saving(found: str) -> bool:
  """Whether a phase is inside a save."""
  return found in (WRITING, CLOSING)


def phases(
  process: subprocess.Popen, folder: pathlib.Path, before: Marks
) -> Iterator[str]:
  """What a process is doing, again and again until it ends."""
  end = time.monotonic() + _LIMIT_SECS
  while process.poll() is None:
    if time.monotonic() > end:
      raise TimeoutError(f"a run in {folder} took {_LIMIT_SECS} s")
    yield phase(before, marks(folder))
    time.sleep(_LOOK_SECS)


def wait(
  process: subprocess.Popen,
  folder: pathlib.Path,
  before: Marks,
  when: Instant,
  usual: Usual,
) -> None:
  """Returns at the instant, or when the process has ended."""
  if when.save is None:
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(when.share * usual.run_secs)
    return
  was_saving, saves = False, 0
  for found in phases(process, folder, before):
    saves += is_saving(found) and not was_saving
    was_saving = is_saving(found)
    if saves > when.save and not when.is_late:
      time.sleep(when.share * usual.save_secs)
      return
    if saves > when.save and found == CLOSING:
      return


def killed(run: Run, when: Instant, usual: Usual) -> Kill | int:
  """Starts a process and kills it; its status if it has ended before."""
  before, since = marks(run.folder), time.monotonic()
  with started(run) as process:
    wait(process, run.folder, before, when, usual)
    if process.poll() is not None:
      return process.returncode
    # Stopped first, so that what is looked at is what the kill leaves.
    os.killpg(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    secs = time.monotonic() - since
    hit = phase(before, marks(run.folder))
    os.killpg(process.pid, signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
      return process.returncode
  metrics = run.folder / workdir_lib.METRICS
  lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
  return Kill(hit, secs, lines, when.save is not None)


def ended(run: Run) -> tuple[int, Usual]:
  """Lets a run end; its status, its time and that of a typical save."""
  before, since = marks(run.folder), time.monotonic()
  saves, save_since = [], None
  with started(run) as process:
    for found in phases(process, run.folder, before):
      if is_saving(found):
        save_since = save_since or time.monotonic()
      elif save_since:
        saves.append(time.monotonic() - save_since)
        save_since = None
  secs = time.monotonic() - since
  return process.returncode, Usual(secs, float(np.median(saves or [0.0])))
