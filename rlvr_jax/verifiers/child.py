"""One worker process, as the thread that owns it sees it.

A request goes out and a reply comes back within a time limit, or the process
is given up: `Overrun`, `Died`. Nothing here waits for longer, whatever the
child does or fails to do.
"""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from rlvr_jax import errors
from rlvr_jax.verifiers import worker

_START_SECS = 120.0


class Overrun(Exception):
  """The time is up."""


class Died(Exception):
  """The process is gone; the message is the reason."""


class Child:
  """A running worker; used by one thread, but for `kill`."""

  def __init__(self, setup: dict[str, Any]):
    """Starts the process.

    Args:
      setup: verifier, options and memory_mib, as `worker` reads them.
    """
    self._ready = False
    # Not multiprocessing: a forked child has the locks of jax's threads, and
    # a spawned one imports the trainer's main module. A process group of its
    # own keeps the terminal's Ctrl-C away even before it can ignore it.
    self._process = subprocess.Popen(
      [
        sys.executable,
        # No folder of our own before those of the parent.
        "-P",
        "-m",
        worker.__name__,
        json.dumps(setup | {"parent": os.getpid()}),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      bufsize=0,
      process_group=0,
      env=_environment(),
    )
    # A child that does not read must not hold up a deadline.
    os.set_blocking(self._process.stdin.fileno(), False)

  def wait_ready(self) -> None:
    """Waits until the verifier is imported.

    Raises:
      errors.UserError: if it cannot be.
    """
    if self._ready:
      return
    try:
      self._receive(time.monotonic() + _START_SECS)
    except Overrun:
      raise errors.UserError(
        f"a verifier's worker took more than {_START_SECS} s to start: see what"
        " its module does when it is imported"
      ) from None
    except Died as error:
      raise errors.UserError(
        f"a verifier's worker ended before it was ready ({error}): see what it"
        " printed"
      ) from None
    self._ready = True

  def ask(self, request: dict[str, Any], until: float) -> dict[str, Any]:
    """The reply to a request.

    Args:
      request: as `worker` reads it.
      until: time.monotonic() at which to give up.

    Raises:
      Overrun: if there is none in time; the child has to be closed then.
      Died: if the process ended; likewise.
      errors.UserError: if the verifier itself is at fault; likewise.
    """
    body = json.dumps(request).encode()
    self._send(worker.LENGTH.pack(len(body)) + body, until)
    return self._receive(until)

  def is_alive(self) -> bool:
    """Whether the process has not ended."""
    return self._process.poll() is None

  def kill(self) -> None:
    """Ends the process and what it started; from any thread."""
    if self.is_alive():
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()

  def close(self) -> None:
    """Kills, and closes the pipes."""
    self.kill()
    self._process.stdin.close()
    self._process.stdout.close()

  def _send(self, message: bytes, until: float) -> None:
    left = memoryview(message)
    pipe = self._process.stdin.fileno()
    while left:
      _wait(pipe, select.POLLOUT, until)
      try:
        left = left[os.write(pipe, left) :]
      except BlockingIOError:
        continue
      except BrokenPipeError:
        raise Died(self._reason()) from None

  def _receive(self, until: float) -> dict[str, Any]:
    (length,) = worker.LENGTH.unpack(self._read(worker.LENGTH.size, until))
    reply = json.loads(self._read(length, until))
    if "error" in reply:
      raise errors.UserError(reply["error"])
    return reply

  def _read(self, count: int, until: float) -> bytes:
    data = bytearray()
    pipe = self._process.stdout.fileno()
    while len(data) < count:
      _wait(pipe, select.POLLIN, until)
      chunk = os.read(pipe, count - len(data))
      if not chunk:
        raise Died(self._reason())
      data += chunk
    return bytes(data)

  def _reason(self) -> str:
    """Why a process that closed its pipes has ended."""
    try:
      code = self._process.wait(1.0)
    except subprocess.TimeoutExpired:
      return "it closed its pipes"
    if code >= 0:
      return f"exited with status {code}"
    try:
      return f"killed by {signal.Signals(-code).name}"
    except ValueError:
      return f"killed by signal {-code}"


def _wait(pipe: int, event: int, until: float) -> None:
  """Returns when a pipe is ready; what is ready now is never too late.

  Not select.select, which cannot watch a descriptor above 1023.
  """
  poll = select.poll()
  poll.register(pipe, event)
  left = max(until - time.monotonic(), 0.0)
  if not poll.poll(math.ceil(1000 * left)):
    raise Overrun


def _environment() -> dict[str, str]:
  """What makes a child import what its parent would, and nothing vary."""
  folders = [folder or os.getcwd() for folder in sys.path]
  return os.environ | {
    "PYTHONPATH": os.pathsep.join(folders),
    # Symbolic libraries order terms by hash.
    "PYTHONHASHSEED": "0",
    # Threads of an idle library count as memory.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
  }
