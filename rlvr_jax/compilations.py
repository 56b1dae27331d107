"""What a run compiles: counted, kept on disk, refused where unexpected.

A step of fixed shapes compiles each of its programs once. One that compiles
again costs minutes at a large model, maybe at every step, and says nothing.
"""

from collections.abc import Callable
import contextvars
import functools
import os
import pathlib
import tempfile
from typing import Any, NamedTuple

import jax

from rlvr_jax import errors

# What jax tells its listeners; the first also where a program was on disk.
_COMPILED = "/jax/core/compile/backend_compile_duration"
_FROM_DISK = "/jax/compilation_cache/cache_hits"

# The program of a `Watch` that is being called; threads begin with none.
_called: contextvars.ContextVar[str | None] = contextvars.ContextVar(
  "called", default=None
)


class _Compiled(NamedTuple):
  """One compilation: the program that was called, if any, and its time."""

  program: str | None
  secs: float


# Of this process. Lists, since any thread may compile, and appending to one
# takes no lock.
_compiled: list[_Compiled] = []
_from_disk: list[str] = []


@functools.cache
def _listen() -> None:
  """Registers the listeners, once per process; others stay as they are."""

  def on_duration(event: str, secs: float, **_) -> None:
    if event == _COMPILED:
      _compiled.append(_Compiled(_called.get(), secs))

  def on_event(event: str, **_) -> None:
    if event == _FROM_DISK:
      _from_disk.append(event)

  jax.monitoring.register_event_duration_secs_listener(on_duration)
  jax.monitoring.register_event_listener(on_event)


class Watch:
  """Counts what is compiled, and by which of a run's programs.

  Example: programs = watch.watched(programs); at each step, call them, then
  watch.check(step), then write watch.lap().
  """

  def __init__(self):
    _listen()
    self._start = self._last = (len(_compiled), len(_from_disk))
    self._warm: set[str] = set()
    # Since the last check: programs called; of those that compiled again, what
    # they were called with.
    self._used: set[str] = set()
    self._again: dict[str, str] = {}
    # What a program was last compiled for.
    self._compiled_for: dict[str, dict[str, tuple[str, str]]] = {}

  def watched(self, programs: Any) -> Any:
    """A named tuple with every function in it replaced by one that is seen."""
    return programs._replace(
      **{
        name: self._seen(name, value)
        for name, value in programs._asdict().items()
        if callable(value)
      }
    )

  def start(self) -> None:
    """Forgets the calls so far: set-up may use a program with other shapes."""
    self._used, self._again = set(), {}

  def check(self, step: int) -> None:
    """Books the calls of a step.

    Raises:
      errors.UserError: if a program compiled that a step before this one had
        used; with its name and what it was called with.
    """
    # With PGLE, jax itself compiles each program again, with a profile.
    if not jax.config.jax_enable_pgle:
      for name in sorted(self._warm & self._again.keys()):
        raise errors.UserError(
          f"step {step} compiled {name} again ({self._again[name]}), which"
          " takes its time and is never meant to be: the last checkpoint is"
          " untouched, so start the same command again to go on from it, and"
          " report this line if it comes back"
        )
    self._warm |= self._used
    self.start()

  def lap(self) -> dict[str, float]:
    """What was compiled since the last lap, by anything in the process."""
    now = (len(_compiled), len(_from_disk))
    (compiled, from_disk), self._last = self._last, now
    return {
      "compile/programs": now[0] - compiled,
      "compile/from_disk": now[1] - from_disk,
      "compile/secs": sum(x.secs for x in _compiled[compiled : now[0]]),
    }

  def summary(self) -> str:
    """All that was compiled, in a line."""
    compiled, from_disk = self._start
    secs = sum(x.secs for x in _compiled[compiled:])
    return (
      f"compiled {len(_compiled) - compiled} programs in {secs:.1f} s,"
      f" {len(_from_disk) - from_disk} of them read from disk"
    )

  def _seen(self, name: str, function: Callable[..., Any]):
    def call(*args):
      before, token = len(_compiled), _called.set(name)
      try:
        result = function(*args)
      finally:
        _called.reset(token)
      self._used.add(name)
      old = self._compiled_for.get(name)
      compiled = any(x.program == name for x in _compiled[before:])
      # Only then: to look at every leaf at every call would cost time. Donated
      # arrays are gone by now, but not their shapes.
      if compiled or old is None:
        self._compiled_for[name] = new = signature(args)
        if old is not None:
          self._again[name] = difference(old, new)
      return result

    return call


def signature(args: Any) -> dict[str, tuple[str, str]]:
  """What a program is compiled for: (type and shape, where) by path."""
  return {
    jax.tree_util.keystr(path): _kind(leaf)
    for path, leaf in jax.tree_util.tree_flatten_with_path(args)[0]
  }


def _kind(leaf: Any) -> tuple[str, str]:
  if not hasattr(leaf, "dtype"):
    return repr(leaf), ""
  weak = " of weak type" * getattr(leaf, "weak_type", False)
  shape = ",".join(map(str, leaf.shape))
  return f"{leaf.dtype}[{shape}]{weak}", str(getattr(leaf, "sharding", ""))


def difference(
  old: dict[str, tuple[str, str]], new: dict[str, tuple[str, str]]
) -> str:
  """The first thing in which two signatures differ, in words."""
  nothing = ("nothing", "")
  changed = [
    (path, old.get(path, nothing), new.get(path, nothing))
    for path in [*new, *(path for path in old if path not in new)]
    if old.get(path) != new.get(path)
  ]
  if not changed:
    return "for the same shapes, types and shardings"
  path, was, now = changed[0]
  part = 0 if was[0] != now[0] else 1
  more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
  return f"argument {path} was {was[part]} and is {now[part]}{more}"


def keep_on_disk() -> str | None:
  """Has jax keep what it compiles, for the next start; says why not, if so.

  jax's own settings hold: JAX_ENABLE_COMPILATION_CACHE=false switches it off,
  JAX_COMPILATION_CACHE_DIR names another folder, and only what takes longer
  than JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS (1 by default) is kept.
  """
  if not jax.config.jax_enable_compilation_cache:
    return None
  folder = jax.config.jax_compilation_cache_dir or str(default_folder())
  if not _can_be_written(folder):
    jax.config.update("jax_enable_compilation_cache", False)
    return (
      f"note: {folder} cannot be written, so compiled programs are not kept:"
      " set JAX_COMPILATION_CACHE_DIR to another folder"
    )
  jax.config.update("jax_compilation_cache_dir", folder)
  return None


def _can_be_written(folder: str) -> bool:
  """Tries, and leaves nothing: a program that compiles little needs none."""
  if "://" in folder:
    return True  # A bucket: jax tells.
  if folder.startswith("~"):
    return False
  path = pathlib.Path(folder).absolute()
  there = next(x for x in (path, *path.parents) if x.exists())
  try:
    with tempfile.TemporaryDirectory(dir=there):
      return True
  except OSError:
    return False


def default_folder() -> pathlib.Path:
  """Where compiled programs lie unless JAX_COMPILATION_CACHE_DIR says."""
  # Not Path.expanduser, which raises for a user without a home.
  cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return pathlib.Path(cache, "rlvr_jax", "compiled")
