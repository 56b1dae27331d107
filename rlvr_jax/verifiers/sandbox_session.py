"""One sandboxed program, as the thread that started it sees it.

Nothing here waits for longer than it is told, whatever the program does, and
nothing of it is left when the context is left: what is killed is process 1 of
its namespace, which takes all others with it, and is waited for.
"""

from collections.abc import Callable
import contextlib
import json
import math
import os
import pathlib
import platform
import select
import signal
import subprocess
import time
from typing import Any, NamedTuple

from rlvr_jax.verifiers import sandbox_commands
from rlvr_jax.verifiers import sandbox_inside
from rlvr_jax.verifiers import seccomp

_START_SECS = 20.0
_END_SECS = 10.0
_CHUNK = 2**16


class SandboxError(RuntimeError):
  """The sandbox itself failed, which says nothing of the program."""


class Result(NamedTuple):
  """What a program did.

  Example: Result("exited", 0, "4\\n", "", 0.013).

  Attributes:
    status: "exited"; "timeout", of either time; "memory", if it ended for want
      of it; "output", if it wrote too much; "killed", by any other signal.
    exit_code: as a shell has it, 128 + the signal's number; None if we ended
      it.
    stdout: what it wrote, up to the limit.
    stderr: likewise.
    seconds: that it ran, by the clock.
  """

  status: str
  exit_code: int | None
  stdout: str
  stderr: str
  seconds: float


class Session:
  """A program that runs in a sandbox, to talk with while it does.

  Used by one thread. On leaving the context, all that it started is gone; but
  for "rlimits_only", from which a process can walk away.
  """

  def __init__(
    self,
    program: str,
    words: dict[str, str],
    *,
    seconds: float,
    output_bytes: int,
    forks: bool,
    folder: str | None = None,
  ):
    """Starts the program.

    Args:
      program: Python source.
      words: settings of `sandbox_inside`, but for its descriptors.
      seconds: that it may run.
      output_bytes: of standard output, and of standard error.
      forks: whether it may start processes.
      folder: where it works, if there is no file system of its own.

    Raises:
      SandboxError: if it does not start.
    """
    self._process: subprocess.Popen | None = None
    self._pidfd = -1
    self._unsent = bytearray()
    self._wants_close = False
    self._output = {"stdout": bytearray(), "stderr": bytearray()}
    self._room = dict.fromkeys(self._output, output_bytes)
    self._is_over = False
    self._is_group = words["backend"] == "rlimits_only"
    self._status: str | None = None
    try:
      self._start(words, forks, folder)
    except BaseException:
      self._close()
      raise
    source = program.encode("utf-8", "surrogatepass")
    self.send(sandbox_inside.LENGTH.pack(len(source)) + source)
    self._began = time.monotonic()
    self._until = self._began + seconds

  def __enter__(self) -> "Session":
    return self

  def __exit__(self, *error) -> None:
    self._close()

  def send(self, data: bytes) -> None:
    """Puts data on the program's standard input, as fast as it reads."""
    self._unsent += data

  def close_stdin(self) -> None:
    """Ends the standard input after all that was sent."""
    self._wants_close = True

  def line(self, seconds: float) -> bytes | None:
    """The next line of standard output; None if none comes.

    Args:
      seconds: to wait at most; the program's own limits hold as well.
    """
    found = self._output["stdout"]
    until = min(time.monotonic() + seconds, self._until)
    self._pump(until, lambda: b"\n" in found)
    line, end, rest = bytes(found).partition(b"\n")
    if not end:
      return None
    found[:] = rest
    return line

  def result(self) -> Result:
    """Waits for the end of the program, and tells what it did."""
    if not self._pump(self._until, lambda: False):
      self._status = "timeout"
    seconds = time.monotonic() - self._began
    self._kill()
    self._drain()
    stdout, stderr = (
      data.decode("utf-8", "replace") for data in self._output.values()
    )
    if self._status:
      return Result(self._status, None, stdout, stderr, seconds)
    code = self._process.returncode
    code = code if code >= 0 else 128 - code
    return Result(_status(code, stderr), code, stdout, stderr, seconds)

  def _start(
    self, words: dict[str, str], forks: bool, folder: str | None
  ) -> None:
    """Returns when all doors are shut and the program is awaited."""
    code = seccomp.program(platform.machine(), forks=forks)
    with contextlib.ExitStack() as stack:
      ready, ready_inside = _pipe(stack)
      info, info_inside = _pipe(stack)
      filter_inside, filter_ours = _pipe(stack)
      filter_ours.write(code)
      filter_ours.close()
      inside = (ready_inside, info_inside, filter_inside)
      descriptors = [pipe.fileno() for pipe in inside]
      command = sandbox_commands.command(words, descriptors, bool(code))
      self._process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=folder or "/",
        env=sandbox_commands.environment(folder or "/tmp"),
        pass_fds=descriptors,
      )
      for pipe in inside:
        pipe.close()
      for name in ("stdin", *self._output):
        os.set_blocking(self._pipe(name).fileno(), False)
        # The program may open it once more, by its name.
        if "uid" in words:
          os.fchown(self._pipe(name).fileno(), int(words["uid"]), -1)
      if _wait({ready.fileno(): select.POLLIN}, _START_SECS) and ready.read(1):
        told = b"{}" if self._is_group else info.read(_CHUNK)
        pid = json.loads(told).get("child-pid", self._process.pid)
        self._pidfd = os.pidfd_open(pid)
        return
    self._kill_starting()
    self._receive("stderr")
    told = self._output["stderr"].decode("utf-8", "replace")
    why = last_line(told) or f"it did not start within {_START_SECS} s"
    raise SandboxError(f"{words['backend']}: {why}")

  def _pipe(self, name: str) -> Any:
    return getattr(self._process, name)

  def _pump(self, until: float, is_enough: Callable[[], bool]) -> bool:
    """Sends and receives; whether it was enough, or all, before a time."""
    while not (is_enough() or self._is_over):
      left = until - time.monotonic()
      if left <= 0:
        return False
      stdin = self._pipe("stdin")
      if self._wants_close and not self._unsent:
        stdin.close()
      watched = {self._pidfd: select.POLLIN}
      for name in self._output:
        if not self._pipe(name).closed:
          watched[self._pipe(name).fileno()] = select.POLLIN
      if self._unsent and not stdin.closed:
        watched[stdin.fileno()] = select.POLLOUT
      ready = _wait(watched, left)
      for name in ("stdin", *self._output):
        if not self._pipe(name).closed and self._pipe(name).fileno() in ready:
          self._send() if name == "stdin" else self._receive(name)
      if self._pidfd in ready:
        self._drain()
        self._is_over = True
    return True

  def _drain(self) -> None:
    """Takes what was written and not yet read."""
    for name in self._output:
      while self._receive(name):
        pass

  def _send(self) -> None:
    """As much as there is room for."""
    stdin = self._pipe("stdin")
    try:
      del self._unsent[: os.write(stdin.fileno(), self._unsent)]
    except BlockingIOError:
      pass
    except BrokenPipeError:
      self._unsent.clear()
      stdin.close()

  def _receive(self, name: str) -> bool:
    """Reads what there is; whether there may be more."""
    pipe, room = self._pipe(name), self._room[name]
    if pipe.closed or self._status == "output":
      return False
    try:
      data = os.read(pipe.fileno(), _CHUNK)
    except BlockingIOError:
      return False
    if not data:
      pipe.close()
      return False
    self._output[name] += data[:room]
    self._room[name] = max(room - len(data), 0)
    if len(data) > room:
      self._status, self._is_over = "output", True
      return False
    return True

  def _kill(self) -> None:
    """Ends the program and all that it started, and waits for that.

    Raises:
      SandboxError: if they do not end.
    """
    if self._process.returncode is not None:
      return
    with contextlib.suppress(ProcessLookupError):
      signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
      # There is no process 1 that takes the others with it.
      if self._is_group:
        os.killpg(self._process.pid, signal.SIGKILL)
    try:
      self._process.wait(_END_SECS)
      is_gone = bool(_wait({self._pidfd: select.POLLIN}, _END_SECS))
    except subprocess.TimeoutExpired:
      is_gone = False
    if not is_gone:
      raise SandboxError("a sandboxed process does not end when killed")

  def _kill_starting(self) -> None:
    """Ends what has not told its process 1 yet."""
    pid = self._process.pid
    # Before it has asked to die with its parent, a child of bwrap does not.
    with contextlib.suppress(OSError):
      children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
      for child in children.split():
        os.kill(int(child), signal.SIGKILL)
    self._process.kill()
    self._process.wait()

  def _close(self) -> None:
    if self._process is None:
      return
    try:
      if self._pidfd < 0:
        self._kill_starting()
      else:
        self._kill()
        os.close(self._pidfd)
    finally:
      for name in ("stdin", *self._output):
        self._pipe(name).close()


def last_line(text: str) -> str:
  """The last line that is not empty, shortened; "" if there is none."""
  lines = text.split("\n")
  return next((x.strip() for x in reversed(lines) if x.strip()), "")[:300]


def _status(code: int, stderr: str) -> str:
  if code == 128 + signal.SIGXCPU:
    return "timeout"
  if code > 128:
    return "killed"
  if code == 1 and last_line(stderr).startswith("MemoryError"):
    return "memory"
  return "exited"


def _pipe(stack: contextlib.ExitStack) -> tuple[Any, Any]:
  """Two ends, to read and to write, closed with the stack at the latest."""
  reader, writer = os.pipe()
  return (
    stack.enter_context(open(reader, "rb", buffering=0)),
    stack.enter_context(open(writer, "wb", buffering=0)),
  )


def _wait(events: dict[int, int], seconds: float) -> set[int]:
  """Descriptors for which something has happened, or whose other end is gone.

  Args:
    events: descriptor -> what to wait for, as `select.poll` takes it.
    seconds: to wait at most.
  """
  poll = select.poll()
  for descriptor, event in events.items():
    poll.register(descriptor, event)
  return {found for found, _ in poll.poll(math.ceil(1000 * seconds))}
