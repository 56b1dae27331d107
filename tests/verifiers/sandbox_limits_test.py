"""A program uses no more than it may, and what it starts ends with it."""

import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time

import pytest

from rlvr_jax.verifiers import sandbox
from rlvr_jax.verifiers import sandbox_session
from tests.verifiers import sandboxed

_SECS = 0.5


# --- What it cannot use up.


@pytest.mark.parametrize(
  "program",
  [
    "while True: pass",
    "9**9**9",
    "import time; time.sleep(1000)",
    "import signal, time\n"
    "for number in set(signal.Signals) - {9, 19}:\n"
    "  try: signal.signal(number, signal.SIG_IGN)\n"
    "  except (OSError, ValueError): pass\n"
    "while True: time.sleep(1000)",
    "import os; os.kill(os.getpid(), 19)",
    "while True:\n  try: input()\n  except BaseException: pass",
    "import threading\nthreading.Thread(target=threading.Event().wait).start()",
    "import atexit, time; atexit.register(time.sleep, 1000)",
  ],
)
def test_time_is_bounded_by_the_clock(backend, program):
  start = time.monotonic()
  found = sandboxed.run(backend, program, seconds=_SECS)
  assert (found.status, found.exit_code) == ("timeout", None)
  assert _SECS <= found.seconds <= time.monotonic() - start < _SECS + 5


def test_processor_time_is_bounded(backend):
  found = sandboxed.run(
    backend, "while True: pass", cpu_seconds=0.5, seconds=60.0
  )
  assert found.status == "timeout"


@pytest.mark.parametrize(
  "program",
  [
    "x = []\nwhile True: x.append(bytearray(2**20))",
    "'x' * 2**40",
    "x = [0]\nwhile True: x += x",
  ],
)
def test_memory_is_bounded(backend, program):
  found = sandboxed.run(backend, program, memory_mib=200)
  assert (found.status, found.exit_code) == ("memory", 1)


def test_memory_is_bounded_however_it_is_mapped(backend):
  program = (
    "import mmap\n"
    "maps = []\n"
    "while True:\n"
    "  maps.append(mmap.mmap(-1, 2**22))\n"
    "  maps[-1].write(b'x' * 2**22)\n"
  )
  found = sandboxed.run(backend, program, memory_mib=200)
  assert found.exit_code == 1 and "Cannot allocate memory" in found.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_bounded(backend, stream):
  program = f"import sys\nwhile True: sys.{stream}.write('x' * 1000)"
  found = sandboxed.run(backend, program, output_bytes=5000)
  assert (found.status, found.exit_code) == ("output", None)
  assert getattr(found, stream) == "x" * 5000


def test_output_up_to_the_limit_is_whole(backend):
  program = "print('x' * 99_999)"
  assert (
    sandboxed.run(backend, program, output_bytes=100_000).status == "exited"
  )
  found = sandboxed.run(backend, program, output_bytes=99_999)
  assert (found.status, found.stdout) == ("output", "x" * 99_999)


def test_files_are_bounded(backend):
  program = (
    "import os\n"
    "def fill(name):\n"
    "  try:\n"
    "    with open(name, 'wb', buffering=0) as file:\n"
    "      while file.write(bytes(2**18)) == 2**18: pass\n"
    "  except OSError as error: return error.errno\n"
    "print(fill('0'))\n"
    "os.remove('0')\n"
    "for name in map(str, range(9)):\n"
    "  with open(name, 'wb') as file: file.truncate(2**20)\n"
    "  fill(name)\n"
    "print(sum(os.stat(n).st_blocks * 512 for n in os.listdir()) // 2**20)\n"
  )
  assert sandboxed.run(backend, program, file_mib=2).stdout.split()[-1] == "2"


def test_a_program_starts_no_process_unless_it_may(backend):
  program = (
    "import os, subprocess\n"
    "for start in (os.fork, lambda: subprocess.run(['true']),\n"
    "              lambda: os.posix_spawn('/bin/true', ['true'], {}),\n"
    "              lambda: os.system('true') and 1 / 0):\n"
    "  try: start()\n"
    "  except Exception: print('no')\n"
  )
  assert sandboxed.run(backend, program).stdout == "no\n" * 4
  assert "no" not in sandboxed.run(backend, program, forks=True).stdout


@pytest.mark.parametrize("forks", [False, True])
def test_a_fork_bomb_is_bounded_and_gone(backend, forks):
  marker, program = sandboxed.marked(
    "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n"
  )
  most = 0
  limits = sandbox.Limits(seconds=_SECS, processes=20, forks=forks)
  with sandbox.start(program, limits, backend) as session:
    for _ in range(5):
      session.line(_SECS / 6)
      most = max(most, len(sandboxed.named(marker)))
    assert session.result().status == "timeout"
  assert (10 if forks else 1) <= most <= (20 if forks else 1)
  assert not sandboxed.named(marker)


def test_threads_are_bounded(backend):
  program = (
    "import threading, time\n"
    "threading.stack_size(2**16)\n"
    "try:\n"
    "  for number in range(1000):\n"
    "    wait = threading.Thread(target=time.sleep, args=(99,), daemon=True)\n"
    "    wait.start()\n"
    "except RuntimeError: print(number)\n"
  )
  assert 10 <= int(sandboxed.run(backend, program, processes=20).stdout) <= 20


# --- How it ends.


@pytest.mark.parametrize(
  "program, status, code",
  [
    ("import os; os._exit(7)", "exited", 7),
    ("raise SystemExit", "exited", 0),
    ("raise SystemExit('why')", "exited", 1),
    ("1 / 0", "exited", 1),
    ("import os; os.abort()", "killed", 134),
    ("import os; os.kill(os.getpid(), 9)", "killed", 137),
    ("import os; os.kill(os.getpid(), 15)", "killed", 143),
    ("import ctypes; ctypes.string_at(0)", "killed", 139),
    ("import os; os.closerange(0, 100)", "exited", None),
    ("import os; os.execv('/bin/true', ['true'])", "exited", 0),
  ],
)
def test_every_end_is_told(backend, program, status, code):
  found = sandboxed.run(backend, program)
  assert found.status == status
  assert code is None or found.exit_code == code


def test_endless_recursion_ends(backend):
  program = (
    "import sys\n"
    "sys.setrecursionlimit(10**9)\n"
    "class A:\n"
    "  def __getattr__(self, name): return getattr(self, name + 'x')\n"
    "A().x\n"
  )
  found = sandboxed.run(backend, program, seconds=_SECS)
  assert found.status in ("killed", "memory", "timeout", "exited")
  assert found.exit_code != 0


def test_what_it_leaves_behind_is_gone_with_it(backend):
  marker, program = sandboxed.marked(
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "  os.setsid()\n"
    "  if os.fork() == 0:\n"
    "    for number in (1, 2, 3, 13, 15):\n"
    "      signal.signal(number, signal.SIG_IGN)\n"
    "    os.closerange(0, 100)\n"
    "    while True: time.sleep(1000)\n"
    "  os._exit(0)\n"
    "time.sleep(0.2)\n"
    "print('left')\n"
  )
  found = sandboxed.run(backend, program, forks=True)
  assert found[:3] == ("exited", 0, "left\n")
  assert not sandboxed.named(marker)


_WORKER = """
import sys
from rlvr_jax.verifiers import sandbox
from rlvr_jax.verifiers import sandbox_session
limits = sandbox.Limits(seconds=100.0, forks=True)
sandbox.run(sys.argv[2], "", limits, sys.argv[1])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_worker_that_is_killed(backend, number):
  marker, program = sandboxed.marked(
    "import os, time\nos.fork()\nos.setsid()\ntime.sleep(1000)"
  )
  worker = subprocess.Popen(
    [sys.executable, "-c", _WORKER, backend, program], start_new_session=True
  )
  until = time.monotonic() + 30
  while len(sandboxed.named(marker)) < 2 and time.monotonic() < until:
    time.sleep(0.02)
  assert len(sandboxed.named(marker)) == 2
  os.killpg(worker.pid, number)
  worker.wait()
  until = time.monotonic() + 10
  while sandboxed.named(marker) and time.monotonic() < until:
    time.sleep(0.02)
  assert not sandboxed.named(marker)


def _told(word):
  """Processes of this machine that were started with a word."""
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
      if word.encode() in path.read_bytes().split(b"\0"):
        found.append(path.parent.name)
  return found


_BUSY_WORKER = """
import sys
from rlvr_jax.verifiers import sandbox
from rlvr_jax.verifiers import sandbox_session
limits = sandbox.Limits(file_mib=int(sys.argv[2]))
print("ready", flush=True)
while True:
  sandbox.run("pass", "", limits, sys.argv[1])
"""


def test_a_worker_may_be_killed_at_any_moment(backend):
  for number in range(4):
    file_mib = secrets.randbelow(10**6) + 10**6
    worker = subprocess.Popen(
      [sys.executable, "-c", _BUSY_WORKER, backend, str(file_mib)],
      stdout=subprocess.PIPE,
      start_new_session=True,
    )
    worker.stdout.readline()
    time.sleep(0.2 + 0.017 * number)
    assert worker.poll() is None
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()
    word = f"file_bytes={file_mib * 2**20}"
    until = time.monotonic() + 10
    while _told(word) and time.monotonic() < until:
      time.sleep(0.02)
    assert not _told(word)


def test_a_start_that_fails_leaves_nothing(backend, monkeypatch):
  file_mib = secrets.randbelow(10**6) + 10**6
  monkeypatch.setattr(sandbox_session, "_wait", lambda *_: set())
  limits = sandbox.Limits(file_mib=file_mib)
  for _ in range(3):
    with (
      pytest.raises(sandbox_session.SandboxError, match="it did not start"),
      sandbox.start("pass", limits, backend),
    ):
      pass
  assert not _told(f"file_bytes={file_mib * 2**20}")


def test_a_session_is_a_conversation(backend):
  program = "while True: print(int(input()) ** 2, flush=True)"
  limits = sandbox.Limits(seconds=10.0)
  with sandbox.start(program, limits, backend) as session:
    for number in (2, 3):
      session.send(b"%d\n" % number)
      assert session.line(5.0) == b"%d" % number**2
    assert session.line(0.05) is None
    session.send(b"x\n")
    assert session.line(5.0) is None
    assert "ValueError" in session.result().stderr
