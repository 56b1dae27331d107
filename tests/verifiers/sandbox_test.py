"""What a program tries, it cannot; what it starts, ends with it."""

import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import tempfile

import pytest

from rlvr_jax import errors
from rlvr_jax.verifiers import sandbox
from rlvr_jax.verifiers import seccomp
from tests.verifiers import sandboxed

_SECS = 0.5
_PROJECT = pathlib.Path(sandbox.__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def host():
  """What a program would like to reach, outside."""
  secret = secrets.token_hex(16)
  home = pathlib.Path.home()
  home = home if os.access(home, os.W_OK) else None
  with (
    tempfile.TemporaryDirectory() as folder,
    tempfile.NamedTemporaryFile("w", dir=home) as at_home,
    socket.socket() as listener,
    socket.socket(socket.AF_UNIX) as abstract,
    subprocess.Popen(["sleep", "300"]) as sentinel,
  ):
    elsewhere = pathlib.Path(folder, "secret")
    elsewhere.write_text(secret)
    at_home.write(secret)
    at_home.flush()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    abstract.bind(b"\0" + secret.encode())
    abstract.listen()
    yield {
      "secret": secret,
      "files": [at_home.name, str(elsewhere), __file__, "/etc/passwd"],
      "port": listener.getsockname()[1],
      "abstract": secret,
      "sentinel": sentinel.pid,
      "tester": os.getpid(),
      "project": str(_PROJECT),
    }
    assert sentinel.poll() is None, "a program killed a process of the host"
    sentinel.kill()


# --- What a program can do.


def test_a_program_reads_its_input_and_writes_its_output(backend):
  program = (
    "import sys\n"
    "text = sys.stdin.read()\n"
    "print(len(text), text[-1])\n"
    "print('error', file=sys.stderr)\n"
    "sys.exit(3)\n"
  )
  found = sandboxed.run(backend, program, "x" * 1_000_000 + "é")
  assert found[:4] == ("exited", 3, "1000001 é\n", "error\n")
  assert 0 < found.seconds < 10


def test_a_program_may_open_its_input_by_name(backend):
  program = "print(open('/dev/stdin').read())"
  assert sandboxed.run(backend, program, "3 4").stdout == "3 4\n"


def test_a_program_may_use_threads_and_deep_recursion(backend):
  program = (
    "import sys, threading\n"
    "sys.setrecursionlimit(10**6)\n"
    "threading.stack_size(64 * 2**20)\n"
    "def depth(n):\n"
    "  return n and 1 + depth(n - 1)\n"
    "threading.Thread(target=lambda: print(depth(20000))).start()\n"
  )
  assert sandboxed.run(backend, program).stdout == "20000\n"


def test_a_program_is_a_main_module(backend):
  program = "if __name__ == '__main__':\n  import sys\n  print(sys.argv)"
  assert sandboxed.run(backend, program).stdout == "['program.py']\n"


def test_a_program_has_a_folder_of_its_own_which_is_gone_afterwards(backend):
  marker = secrets.token_hex(8)
  program = (
    "import os\n"
    "print(os.listdir(), os.getcwd())\n"
    f"open('{marker}', 'w').write('x')\n"
    "print(len(os.listdir()))\n"
  )
  for _ in range(2):
    assert sandboxed.run(backend, program).stdout == "[] /tmp\n1\n"
  assert not list(pathlib.Path("/tmp").glob(marker))


def test_a_program_runs_alike_every_time(backend):
  program = "print({str(x) for x in range(20)})"
  assert len({sandboxed.run(backend, program).stdout for _ in range(2)}) == 1


def test_texts_that_are_no_text_are_the_programs_own_fault(backend):
  for program in ("\ud800", "\0", "(" * 1000, "print("):
    found = sandboxed.run(backend, program)
    assert found.status == "exited" and found.exit_code == 1
  assert (
    "\ufffd"
    in sandboxed.run(backend, "import os; os.write(1, b'\\xff')").stdout
  )


# --- What it cannot reach. Each program prints IN where it got through.

_ATTACKS = {
  "files_outside": """
for path in host["files"] + [host["project"]]:
  attempt(lambda: open(path).read())
  attempt(lambda: os.listdir(path))
  for way in ("/proc/self/root", "/proc/1/root", "/proc/self/cwd/..",
              "/proc/1/cwd/..", "/tmp/../..", "/dev/fd/../../.."):
    attempt(lambda: open(way + path).read())
""",
  "files_behind_a_symlink": """
for number, path in enumerate(host["files"]):
  os.symlink(path, f"link{number}")
  attempt(lambda: open(f"link{number}").read())
  attempt(lambda: os.link(path, f"hard{number}"))
""",
  "home_folders": """
for folder in ("/home", "/Users", "/mnt", "/var", "/run", "/srv", "/sys"):
  attempt(lambda: os.listdir(folder))
for folder, _, _ in os.walk("/root"):
  prefix = sys.base_prefix
  check(prefix.startswith(folder) or folder.startswith(prefix))
""",
  "writing": """
import json as module
for path in ("/x", "/usr/x", "/usr/bin/x", "/etc/x", "/dev/x", "/proc/x",
             "/etc/ld.so.cache", module.__file__, os.__file__, "/inside.py",
             sys.executable, "/proc/sys/kernel/hostname",
             "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
             host["project"] + "/x", "/dev/shm/x"):
  attempt(lambda: open(path, "a").write("0"))
  attempt(lambda: os.chmod(path, 0o777))
  attempt(lambda: os.remove(path))
  attempt(lambda: os.rename(path, path + "0"))
attempt(lambda: os.mkdir("/new"))
""",
  "environment": """
blob = repr(dict(os.environ))
for pid in os.listdir("/proc"):
  try:
    blob += open(f"/proc/{pid}/environ").read()
  except OSError:
    pass
attempt(lambda: blob.index(host["secret"]))
check({"PATH", "HOME", "LANG", "TMPDIR", "PWD", "PYTHONHASHSEED",
       "MALLOC_ARENA_MAX"}.issuperset(os.environ))
""",
  "network": """
import socket
kinds = [k for k in dir(socket) if k.startswith("AF_") and k.isupper()]
for kind in kinds:
  for style in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
    attempt(lambda: socket.socket(getattr(socket, kind), style))
attempt(lambda: socket.create_connection(("127.0.0.1", host["port"]), 0.1))
attempt(lambda: socket.create_connection(("localhost", host["port"]), 0.1))
def abstract():
  client = socket.socket(socket.AF_UNIX)
  client.connect(b"\\0" + host["abstract"].encode())
attempt(abstract)
""",
  "tracing": """
for pid in (1, os.getppid(), host["tester"], host["sentinel"]):
  for request in (16, 0x4206):
    attempt(lambda: call(libc.ptrace, request, pid, 0, 0))
""",
  "memory_of_others": """
for pid in (1, os.getppid(), host["tester"], host["sentinel"]):
  def peek():
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
      memory.seek(0x400000)
      return memory.read(1)
  attempt(peek)
  part = (ctypes.c_void_p * 2)(ctypes.addressof(ctypes.c_long()), 8)
  attempt(lambda: call(libc.process_vm_readv, pid, part, 1, part, 1, 0))
""",
  "becoming_root": """
attempt(lambda: os.setuid(0))
attempt(lambda: os.setresuid(0, 0, 0))
attempt(lambda: os.setgroups([0]))
attempt(lambda: os.setgid(0))
import resource
for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU):
  most = (resource.RLIM_INFINITY,) * 2
  attempt(lambda: resource.setrlimit(limit, most))
status = open("/proc/self/status").read()
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
  check(int(status.split(name + ":")[1].split()[0], 16) == 0)
check("NoNewPrivs:\\t1" in status)
check(os.getuid() == os.geteuid() != 0 and 0 not in os.getgroups())
""",
  "setuid_programs": """
import glob, stat, subprocess
check(os.statvfs("/usr").f_flag & os.ST_NOSUID)
for path in glob.glob("/usr/bin/*su*") + ["/usr/bin/mount"]:
  if os.path.exists(path) and os.stat(path).st_mode & stat.S_ISUID:
    reply = subprocess.run([path, "-c", "id"], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL)
    attempt(lambda: reply.stdout.index("uid=0"))
""",
  "mounts_and_namespaces": """
attempt(lambda: call(libc.mount, b"tmpfs", b"/tmp", b"tmpfs", 0, 0))
attempt(lambda: call(libc.mount, 0, b"/usr", 0, 32 | 4096, 0))
attempt(lambda: call(libc.umount2, b"/proc", 2))
attempt(lambda: call(libc.chroot, b"/tmp"))
for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x80):
  attempt(lambda: call(libc.unshare, flag))
attempt(lambda: call(libc.setns, os.open("/proc/1/ns/mnt", 0), 0))
""",
  "devices": """
for name in ("mem", "kmem", "vda", "sda", "kvm", "fuse", "net/tun", "tty"):
  attempt(lambda: open("/dev/" + name, "rb"))
attempt(lambda: os.mknod("node", 0o20666, os.makedev(1, 1)))
""",
}
_TOOLS = """
import ctypes, errno, json, os, sys
host = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
  if function(*arguments) < 0:
    raise OSError(ctypes.get_errno(), function.__name__)
def check(is_safe):
  if not is_safe:
    print("IN, line", sys._getframe(1).f_lineno)
def attempt(action):
  try:
    action()
  except Exception:
    return
  print("IN, line", sys._getframe(1).f_lineno, globals().get("path"))
"""


@pytest.mark.parametrize("attack", _ATTACKS)
def test_an_attack_does_not_get_through(backend, host, monkeypatch, attack):
  monkeypatch.setenv("RLVR_TEST_SECRET", host["secret"])
  forks = attack == "setuid_programs"
  program = f"{_TOOLS}{_ATTACKS[attack]}\nprint('done')"
  found = sandboxed.run(backend, program, json.dumps(host), forks=forks)
  assert (found.status, found.stdout) == ("exited", "done\n"), found


@pytest.mark.parametrize(
  "attack",
  ["files_outside", "files_behind_a_symlink", "environment", "network"],
)
def test_without_a_sandbox_it_would(host, monkeypatch, tmp_path, attack):
  monkeypatch.setenv("RLVR_TEST_SECRET", host["secret"])
  found = subprocess.run(
    [sys.executable, "-c", f"{_TOOLS}{_ATTACKS[attack]}"],
    input=json.dumps(host),
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert "IN" in found.stdout, found


def test_every_call_of_the_filter_is_refused(backend):
  column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
  numbers = {
    name: pair[column]
    for name, pair in (seccomp._REFUSED | seccomp._FORKS).items()
    if pair[column] is not None
  }
  program = (
    "import ctypes, errno\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    f"for name, number in {numbers}.items():\n"
    "  reply = libc.syscall(number, 0, 0, 0, 0, 0, 0)\n"
    "  if reply != -1 or ctypes.get_errno() != errno.EPERM:\n"
    "    print(name, reply, ctypes.get_errno())\n"
    "print('done')\n"
  )
  assert sandboxed.run(backend, program).stdout == "done\n"


def test_the_namespaces_are_its_own(backend):
  kinds = ("pid", "net", "mnt", "ipc", "uts")
  program = (
    "import os\n"
    f"for kind in {kinds}:\n"
    "  print(os.readlink(f'/proc/self/ns/{kind}'))\n"
    "print(*[pid for pid in os.listdir('/proc') if pid.isdigit()])\n"
  )
  *inside, pids = sandboxed.run(backend, program).stdout.splitlines()
  outside = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
  assert len(inside) == 5 and not set(inside) & set(outside)
  assert sorted(pids.split()) == ["1", "2"]


@pytest.mark.parametrize(
  "target", ["1", "os.getppid()", "0", "-1", "host['sentinel']"]
)
def test_no_signal_leaves_it(backend, host, target):
  program = (
    "import json, os, signal\n"
    "host = json.loads(input())\n"
    "for number in (15, 2, 19, 9):\n"
    "  try:\n"
    f"    os.kill({target}, number)\n"
    "  except OSError:\n"
    "    pass\n"
    "signal.pthread_kill\n"
  )
  found = sandboxed.run(backend, program, json.dumps(host), seconds=_SECS)
  assert found.status in ("exited", "killed", "timeout")
  state = pathlib.Path(f"/proc/{host['sentinel']}/stat").read_text()
  assert state.split()[2] == "S"


# --- Which sandbox.


def test_without_a_sandbox_there_is_one_sentence(monkeypatch):
  monkeypatch.setattr(sandbox, "_fault", lambda backend: f"no {backend}")
  assert sandbox.available() == ()
  for name in ("auto", "bubblewrap"):
    with pytest.raises(errors.UserError) as caught:
      sandbox.run("print(1)", backend=name)
    message = str(caught.value)
    assert message.startswith(
      f"sandbox is {name!r}, but none holds on this machine (bubblewrap: no"
    )
    assert "install the package bubblewrap" in message and "\n" not in message


def test_a_backend_that_lacks_its_program_tells_so(monkeypatch):
  monkeypatch.setenv("PATH", "")
  assert sandbox._fault.__wrapped__("bubblewrap") == "there is no program bwrap"


def test_a_backend_holds_only_if_it_keeps_a_program_in():
  fault = sandbox._fault.__wrapped__(sandbox.UNSAFE)
  assert fault.startswith("it ")


def test_an_unknown_sandbox_is_told():
  with pytest.raises(errors.UserError, match="did you mean 'bubblewrap'"):
    sandbox.choose("bublewrap")


def test_the_unsafe_one_bounds_what_it_can():
  run = lambda program, **limits: sandboxed.run(
    sandbox.UNSAFE, program, **limits
  )
  assert run("print(input())", seconds=5.0).exit_code == 1
  assert run("while True: pass", seconds=_SECS).status == "timeout"
  assert run("'x' * 2**40").status == "memory"
  assert run("while True: print('x')", output_bytes=9).status == "output"
  assert run("import os; os.fork()").exit_code == 1
  assert run("import os; os.kill(os.getpid(), 9)").exit_code == 137
  folder = run("import os; open('x', 'w'); print(os.getcwd())").stdout.strip()
  assert folder and not pathlib.Path(folder).exists()


@pytest.mark.parametrize(
  "changes, start",
  [
    ({"seconds": 0}, "seconds is 0: set it above 0"),
    ({"memory_mib": -1}, "memory_mib is -1: set it above 0"),
    ({"cpu_seconds": float("inf")}, "cpu_seconds is inf: set it above 0"),
  ],
)
def test_limits_out_of_range_are_refused(changes, start):
  with pytest.raises(errors.UserError) as caught:
    sandbox.Limits(**changes)
  assert str(caught.value).startswith(start)
