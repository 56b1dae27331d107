"""What every program starts with: flags, signals, and errors in one line."""

from collections.abc import Callable
import importlib.util
import inspect
import os
import pathlib
import re
import signal
import sys
import types
from typing import Any

from absl import app
from absl import flags
from absl import logging
import jax
from ml_collections import config_flags

from rlvr_jax import cluster
from rlvr_jax import compilations
from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax.soundness import determinism

_EXAMPLE = "give an experiment file, such as experiments/grpo.py:tiny"


def define_config_flag() -> flags.FlagHolder:
  """The flag --config=experiments/file.py:variant, with dotted overrides."""
  return config_flags.DEFINE_config_file(
    "config", None, "Experiment file, such as experiments/grpo.py:tiny."
  )


def define_workdir_flag() -> flags.FlagHolder:
  """The flag --workdir."""
  return flags.DEFINE_string(
    "workdir", None, "Folder of the run; starting again in it resumes."
  )


def config(flag: flags.FlagHolder) -> dict[str, Any]:
  """The experiment file of the flag, overrides applied, as a plain dict."""
  if flag.value is None:
    raise errors.UserError(f"--config is missing: {_EXAMPLE}")
  try:
    # A file that cannot be read is told of when its contents are used.
    return flag.value.to_dict()
  except OSError as error:
    raise _unreadable(error) from error


def experiment_module(path: pathlib.Path) -> types.ModuleType:
  """An experiment file, imported by its path."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def folder(flag: flags.FlagHolder) -> pathlib.Path:
  """The value of a folder flag that has to be given."""
  if not flag.value:
    raise errors.UserError(f"--{flag.name} is missing: give it a folder")
  return pathlib.Path(flag.value)


def run(main: Callable[..., None]) -> None:
  """Parses flags and runs main with what else the command line says.

  A mistake of the user's ends in one sentence on stderr and status 2; anything
  else is a bug of ours and keeps its traceback.
  """
  try:
    app.run(lambda argv: _guarded(main, argv[1:]), flags_parser=_parse)
  except errors.UserError as error:
    _fail(error)


def _guarded(main: Callable[..., None], arguments: list[str]) -> None:
  try:
    try:
      inspect.signature(main).bind(*arguments)
    except TypeError as error:
      raise errors.UserError(
        f"argument {arguments[0]!r} is not expected: flags begin with --"
      ) from error
    _give_simulated_devices_threads()
    if determinism.is_wanted():
      determinism.choose()
    with cluster.joined():
      if note := compilations.keep_on_disk():
        print(note, file=sys.stderr)
      main(*arguments)
  except errors.UserError as error:
    _fail(error)


def _give_simulated_devices_threads() -> None:
  """Devices of one CPU wait for each other, each holding a thread.

  With as many devices as cores XLA has no thread left for their work, and
  aborts the process. It reads the number of threads from NPROC.
  """
  simulated = re.search(
    r"xla_force_host_platform_device_count=(\d+)",
    os.environ.get("XLA_FLAGS", ""),
  )
  if simulated:
    threads = max(os.cpu_count() or 1, 2 * int(simulated[1]))
    os.environ.setdefault("NPROC", str(threads))


def simulate_devices(number: int) -> None:
  """Makes a CPU look like several devices; before jax has looked at it.

  For devices that never wait for each other: they get no further threads, of
  which each would take a core from another. A number that XLA_FLAGS gives
  stands.
  """
  if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", number)


def _parse(argv: list[str]) -> list[str]:
  # Config files and overrides are run while flags are parsed, and raise
  # whatever the mistake in them raises, traceback and all: the last line of
  # the text is the cause.
  try:
    rest = flags.FLAGS(argv)
  except (KeyError, AttributeError) as error:
    raise errors.UserError(_unknown_key(str(error), argv)) from error
  except OSError as error:
    raise _unreadable(error) from error
  except (flags.Error, TypeError, ValueError) as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raise errors.UserError(lines[-1]) from error
  if flags.FLAGS["verbosity"].using_default_value:
    # The libraries below tell at level INFO of things that are as they should
    # be; --verbosity=0 brings them back.
    logging.set_verbosity(logging.WARNING)
  return rest


def _unreadable(error: OSError) -> errors.UserError:
  """The reader tries several paths and reports each on lines of its own."""
  lines = [line.strip() for line in str(error).splitlines()]
  reason = next((x for x in lines if x.startswith("[Errno")), lines[-1])
  return errors.UserError(
    f"--config cannot be read ({reason}): {_EXAMPLE}; where there is no"
    " experiments/, `python -m rlvr_jax.copy_experiments` writes it"
  )


def _unknown_key(text: str, argv: list[str]) -> str:
  """Says which override of a config names a key that there is not."""
  hint = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text)
  key = hint[2] if hint else re.sub(r"\W", "", text)
  names = [
    argument.split("=")[0].lstrip("-")
    for argument in argv
    if re.match(rf"--?config\.([\w.]+\.)?{re.escape(key)}(=|$)", argument)
  ]
  name = names[0] if names else f"config.{key}"
  remedy = f"did you mean {hint[1]!r}?" if hint else "see the experiment file"
  return f"{name} is no setting of this experiment: {remedy}"


def _fail(error: errors.UserError) -> None:
  print(f"error: {error}", file=sys.stderr)
  sys.exit(cluster.STATUS_USER_ERROR)


class StopRequest:
  """Turns the first Ctrl-C or SIGTERM into a wish; the second kills.

  A wish of one process is one of all, which have to ask at the same places.

  Example: with StopRequest() as stop: ... if stop(): save and return.
  """

  def __init__(self):
    self._requested = False

  def __call__(self) -> bool:
    """Whether a stop was asked for."""
    return hosts.any_of(self._requested)

  def __enter__(self) -> "StopRequest":
    self._previous = {
      number: signal.signal(number, self._request)
      for number in (signal.SIGINT, signal.SIGTERM)
    }
    return self

  def __exit__(self, *error) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _request(self, number, frame):
    del frame
    self._requested = True
    signal.signal(number, signal.SIG_DFL)
    # Not print: a handler may run in the middle of another write.
    os.write(2, b"\nstopping after this step; again to stop at once\n")
