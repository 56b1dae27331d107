"""Runs a Python program that nobody trusts, and tells what it did.

The program sees the standard library and, at /tmp, a folder of its own that is
gone afterwards. It has no network, not even the host's loopback; no file of the
host but those of the system and the interpreter, read-only; no process but its
own; a user of its own, no capability, a clean environment, and a filter of
system calls. Time, memory, output, files and processes are bounded, and when it
ends, or its time does, everything that it started ends with it; so it does when
the process that runs it dies.

  bubblewrap    namespaces made by the program bwrap, 0.7 or later
  namespaces    the same, made by ourselves: Linux 5.12, and as another user
                than root the right to user namespaces
  rlimits_only  limits and filter alone, in the user's own name: it can read
                and overwrite what the user can. Not safe against hostile
                code; never chosen unless asked for

Whether a backend holds is found out by a program that tries to get out, once.

What is left open: the program can read the system's folders and the
interpreter's, and learn the machine's load and kernel. Memory is bounded for
each process, so forks multiply it; with bubblewrap, the number of empty files
is bounded by time alone. And a hole in the kernel is a hole in the sandbox.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import math
import os
import secrets
import shutil
import sys
import tempfile

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.verifiers import sandbox_session

# In the order in which "auto" takes them.
BACKENDS = ("bubblewrap", "namespaces")
UNSAFE = "rlimits_only"

# Users that no system gives to anybody, and that containers know too.
_UIDS = range(60_578, 61_184)
_PROBE_SECS = 20.0
_PROBE = """
import os, socket
for kind in (socket.AF_INET, socket.AF_UNIX):
  try:
    socket.socket(kind)
  except OSError:
    continue
  raise SystemExit("it has the network of the host")
for folder in ("/", "/usr"):
  if os.access(folder, os.W_OK):
    raise SystemExit(f"it can write to {folder}")
if os.path.exists("/etc/passwd"):
  raise SystemExit("it sees the files of the host")
if os.getpid() > 9:
  raise SystemExit("it sees the processes of the host")
if os.getuid() == 0:
  raise SystemExit("it is root")
open(os.devnull, "w").close()
open("own", "w").write("42")
print(open("own").read())
"""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a program may use.

  Raises:
    errors.UserError: naming the first field that is out of range.
  """

  # By the clock, from when the program starts; starting the sandbox does not
  # count.
  seconds: float = 2.0
  # Of processor time in a process, rounded up.
  cpu_seconds: float = 10.0
  # Address space of a process, interpreter included; no more than our own.
  memory_mib: int = 512
  # Of standard output, and again of standard error.
  output_bytes: int = 2**20
  # A file, and all files together.
  file_mib: int = 16
  # Processes and threads at a time; before Linux 5.14, and as another user than
  # root, those outside the sandbox count too.
  processes: int = 64
  # Whether it may start processes, each with that much memory; threads it may.
  forks: bool = False

  def __post_init__(self):
    for name in (
      "seconds",
      "cpu_seconds",
      "memory_mib",
      "output_bytes",
      "file_mib",
      "processes",
    ):
      value = getattr(self, name)
      settings.require(
        0 < value < math.inf, f"{name} is {value}: set it above 0"
      )


def run(
  program: str,
  stdin: str = "",
  limits: Limits | None = None,
  backend: str = "auto",
) -> sandbox_session.Result:
  """Runs a program to its end.

  Example: run("print(int(input()) + 1)", "3").stdout is "4\\n".

  Args:
    program: Python source.
    stdin: what it reads.
    limits: the defaults if None.
    backend: as `choose` takes it.

  Returns:
    How it ended, and what it wrote.

  Raises:
    errors.UserError: if there is no such sandbox on this machine.
    sandbox_session.SandboxError: if it fails.
  """
  with start(program, limits or Limits(), choose(backend)) as session:
    session.send(stdin.encode("utf-8", "surrogatepass"))
    session.close_stdin()
    return session.result()


@contextlib.contextmanager
def start(
  program: str, limits: Limits, backend: str
) -> Iterator[sandbox_session.Session]:
  """A program in a sandbox, to talk with; on leaving, all of it is gone.

  Args:
    program: Python source.
    limits: what it may use.
    backend: one that `choose` returned.

  Raises:
    sandbox_session.SandboxError: if it does not start.
  """
  words = {
    "backend": backend,
    "cpu_seconds": str(math.ceil(limits.cpu_seconds)),
    "memory_bytes": str(limits.memory_mib * 2**20),
    "file_bytes": str(limits.file_mib * 2**20),
    "processes": str(limits.processes),
  }
  if os.getuid() == 0 and backend != UNSAFE:
    words["uid"] = str(secrets.choice(_UIDS))
  with contextlib.ExitStack() as stack:
    folder = None
    if backend == UNSAFE:
      folder = stack.enter_context(
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
      )
    session = sandbox_session.Session(
      program,
      words,
      seconds=limits.seconds,
      output_bytes=limits.output_bytes,
      forks=limits.forks,
      folder=folder,
    )
    yield stack.enter_context(session)


def available() -> tuple[str, ...]:
  """The safe backends that hold on this machine."""
  return tuple(name for name in BACKENDS if not _fault(name))


def choose(name: str = "auto") -> str:
  """A backend that holds on this machine.

  Args:
    name: of `BACKENDS`, "auto" for the first that holds, or `UNSAFE`.

  Raises:
    errors.UserError: if there is none.
  """
  if name == UNSAFE:
    return name
  if name not in (*BACKENDS, "auto"):
    valid = (*BACKENDS, "auto", UNSAFE)
    raise errors.UserError(
      f"sandbox is {name!r}: {names.did_you_mean(name, valid)}"
    )
  asked = BACKENDS if name == "auto" else (name,)
  for backend in asked:
    if not _fault(backend):
      return backend
  faults = "; ".join(f"{backend}: {_fault(backend)}" for backend in asked)
  raise errors.UserError(
    f"sandbox is {name!r}, but none holds on this machine ({faults}): install"
    " the package bubblewrap or allow user namespaces, or set it to"
    f" {UNSAFE!r}, which is not safe against hostile code"
  )


@functools.cache
def _fault(backend: str) -> str:
  """Why a backend does not hold here; "" if it does."""
  if sys.platform != "linux":
    return "it needs Linux"
  if backend == "bubblewrap" and not shutil.which("bwrap"):
    return "there is no program bwrap"
  try:
    with start(_PROBE, Limits(seconds=_PROBE_SECS), backend) as session:
      found = session.result()
  except (sandbox_session.SandboxError, OSError) as error:
    return str(error).removeprefix(f"{backend}: ")
  if found.stdout == "42\n":
    return ""
  return sandbox_session.last_line(found.stderr) or found.status
