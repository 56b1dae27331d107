"""How the processes of one run find each other, and how they end.

All are started with the same command, one a host on TPUs and one a device on
GPUs; jax's coordinator joins them:

  --distributed=auto     the environment says who they are: Slurm, Open MPI,
                         TPU VMs, GKE
  --distributed=HOST:PORT --num_processes=2 --process_id=0
                         said by hand; HOST is where process 0 runs

A process that is lost takes the others with it: none of them can go on.
"""

from collections.abc import Iterator
import contextlib
import os
import subprocess
import sys
import traceback

from absl import flags
import jax

from rlvr_jax import errors
from rlvr_jax import settings

AUTO = "auto"
STATUS_USER_ERROR = 2
STATUS_LOST = 3
# After so many seconds without a sign of life a process counts as lost.
_HEARTBEAT_SECS = 30
# The first processes of a large job may be up minutes before the last.
_JOIN_SECS = 300
_RESTART = (
  "start all of them again with the same command, and the run goes on from its"
  " last checkpoint"
)
_ENDED_EARLY = (
  f"error: this process of the run was killed, or lost another one: {_RESTART}"
)
# What the ways of reaching other devices say when one does not answer.
_LOST = ("Gloo", "NCCL", "coordination service", "Connection closed by peer")


def define_flags() -> None:
  """The flags of a program that may run as several processes."""
  flags.DEFINE_string(
    "distributed",
    "",
    'Several processes: "auto", or HOST:PORT of process 0. Empty: this one.',
  )
  flags.DEFINE_integer("num_processes", None, "Of the run; with HOST:PORT.")
  flags.DEFINE_integer("process_id", None, "Of this process, from 0 on.")


@contextlib.contextmanager
def joined() -> Iterator[None]:
  """A block that runs as one process of those that the flags tell of.

  If it fails, the process ends at once, with a status above 0: what is left to
  do at the end of a good run would wait for the others.
  """
  if "distributed" not in flags.FLAGS or not _flag("distributed"):
    yield
    return
  last_words = _last_words()
  try:
    _join()
    yield
    jax.distributed.shutdown()
  except BaseException as error:
    status = _told(error)
    _spare(last_words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  _spare(last_words)


def _flag(name: str):
  return flags.FLAGS[name].value


def _join() -> None:
  """Finds the other processes.

  Raises:
    errors.UserError: if the flags do not say enough, or a process is missing.
  """
  address = _flag("distributed")
  count, number = _flag("num_processes"), _flag("process_id")
  arguments = {}
  if address != AUTO:
    settings.require(
      ":" in address,
      f"--distributed is {address!r}: set it to auto, or to HOST:PORT of"
      " process 0",
    )
    settings.require(
      count is not None and count > 0,
      f"--num_processes is {count}: say how many processes there are beside"
      " --distributed=HOST:PORT",
    )
    settings.require(
      number is not None and 0 <= number < count,
      f"--process_id is {number}: give each process its own of 0 to"
      f" {count - 1}",
    )
    arguments = dict(
      coordinator_address=address,
      num_processes=count,
      process_id=number,
      cluster_detection_method="deactivate",
    )
  else:
    settings.require(
      count is None and number is None,
      "--num_processes and --process_id go with --distributed=HOST:PORT: leave"
      " them out, since the environment says them",
    )
  try:
    jax.distributed.initialize(
      initialization_timeout=_JOIN_SECS,
      heartbeat_timeout_seconds=_HEARTBEAT_SECS,
      **arguments,
    )
    # Waits for the devices of all.
    jax.devices()
  except ValueError as error:
    if "should be defined" not in str(error) and "must be" not in str(error):
      raise
    raise errors.UserError(
      f"--distributed is {AUTO}, but the environment is of no cluster that jax"
      " knows (Slurm, Open MPI, TPU VMs, GKE): set it to HOST:PORT, and"
      " --num_processes and --process_id"
    ) from error


def _told(error: BaseException) -> int:
  """Prints why a process ends; the status to end with."""
  if isinstance(error, errors.UserError):
    print(f"error: {error}", file=sys.stderr)
    return STATUS_USER_ERROR
  if isinstance(error, SystemExit):
    return error.code if isinstance(error.code, int) else 1
  if any(words in str(error) for words in _LOST):
    reason = str(error).splitlines()[0]
    print(
      f"error: another process of the run was lost ({reason}): {_RESTART}",
      file=sys.stderr,
    )
    return STATUS_LOST
  traceback.print_exception(error)
  return 1


def _last_words() -> subprocess.Popen:
  """A shell that speaks for this process if it ends without a word.

  Jax's runtime aborts the process when the coordinator is gone, and nothing
  can be caught; what it then prints is long and says nothing of a restart.
  Slurm sends a SIGTERM to all that a task has started, which is no end yet.
  """
  return subprocess.Popen(
    ["sh", "-c", 'trap "" TERM; read ended || echo "$0" >&2', _ENDED_EARLY],
    stdin=subprocess.PIPE,
    start_new_session=True,
  )


def _spare(last_words: subprocess.Popen) -> None:
  last_words.communicate(b"ended\n")
