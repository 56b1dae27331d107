"""What runs inside a sandbox: it shuts the doors, then runs the program.

python -S sandbox_inside.py backend=namespaces ready=5 ...

Started by `sandbox` alone, as a script: nothing of this package, and nothing
that is slow to import. Its standard input brings the program, four bytes of
length and UTF-8, and then what the program reads. One byte on the descriptor
`ready` says that all doors are shut; what goes wrong before is a traceback and
no such byte.

With the backend "bubblewrap" the namespaces are made already; with
"namespaces" they are made here, by three processes: the one that was started
stays outside and waits, its child is process 1 inside, and that one's child
becomes the program. When process 1 ends, by whatever hand, the kernel ends all
others inside.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import types

LENGTH = struct.Struct(">I")
# Who the program is, inside a user namespace.
NOBODY = 65534
DEVICES = ("null", "zero", "full", "random", "urandom")

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000
# Mounts, cgroup, uts, ipc, pid and net.
_CLONE_NEW_OTHERS = 0x6E020000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITIES = range(64)
_CAPABILITY_VERSION = 0x20080522
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MAX_FILTER_BYTES = 2**16
_NUM_OPEN_FILES = 64
_STACK_MIB = 64


def main() -> None:
  """Reads the settings, which are words key=value; runs the program."""
  settings = dict(word.split("=", 1) for word in sys.argv[1:])
  descriptors = [int(number) for number in settings["descriptors"].split(",")]
  ready, _, filter_source = descriptors
  # Likelier to be killed than anything else, should memory run out.
  with contextlib.suppress(OSError):
    _write("/proc/self/oom_score_adj", "1000")
  code = b""
  if settings["backend"] != "bubblewrap":
    code = os.read(filter_source, _MAX_FILTER_BYTES)
  if settings["backend"] == "namespaces":
    _enter_namespaces(settings, code, descriptors)
  else:
    _drop_privileges(settings)
  if settings["backend"] == "rlimits_only":
    _end_with_parent()
    os.setsid()
  _limit(settings)
  _reset_signals()
  # A change of user took it away; without it the program cannot open its own
  # /dev/stdin.
  _prctl(_PR_SET_DUMPABLE, 1)
  _filter_calls(code)
  os.write(ready, b"r")
  _close(descriptors)
  (length,) = LENGTH.unpack(_read(LENGTH.size))
  _run(_read(length).decode("utf-8", "surrogatepass"))


def _run(source: str) -> None:
  """Runs a program in a main module of its own.

  In this interpreter, which holds no secret: another would take as long to
  start as all of this.
  """
  module = types.ModuleType("__main__")
  sys.modules["__main__"] = module
  sys.argv[:] = ["program.py"]
  exec(compile(source, "program.py", "exec"), vars(module))


def _read(count: int) -> bytes:
  """Bytes of standard input, not one more: the rest is the program's."""
  data = bytearray()
  while len(data) < count:
    chunk = os.read(0, count - len(data))
    if not chunk:
      sys.exit("who started this is gone")
    data += chunk
  return bytes(data)


def _enter_namespaces(
  settings: dict[str, str], code: bytes, descriptors: list[int]
) -> None:
  """Returns in the process that will be the program; two others wait."""
  is_root = "uid" in settings
  user, group = os.getuid(), os.getgid()
  _call(_libc.unshare, _CLONE_NEW_OTHERS | (0 if is_root else _CLONE_NEWUSER))
  if not is_root:
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{NOBODY} {user} 1")
    _write("/proc/self/gid_map", f"{NOBODY} {group} 1")
  _end_with_parent()
  first = os.fork()
  if first:
    os.write(descriptors[1], b'{"child-pid": %d}' % first)
    _await(first, descriptors)
  _build_root(settings)
  _drop_privileges(settings)
  _end_with_parent()
  # Until here, who kills the group of the starter kills this too; from here on
  # a signal to the program's own group must not leave the sandbox.
  os.setsid()
  second = os.fork()
  if second:
    # The program has the same user: what it must not look into is this.
    _prctl(_PR_SET_DUMPABLE, 0)
    _filter_calls(code)
    _await(second, descriptors)


def _await(child: int, descriptors: list[int]) -> None:
  """Waits for a child, and ends as it did."""
  # Whoever reads or writes the other ends must not wait for us.
  _close([0, 1, 2, *descriptors])
  while (ended := os.wait())[0] != child:
    pass
  # As a shell has it: 128 and the number of the signal.
  code = os.waitstatus_to_exitcode(ended[1])
  os._exit(code if code >= 0 else 128 - code)


def _build_root(settings: dict[str, str]) -> None:
  """A root of its own: some folders read-only, and an empty one to work in."""
  _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
  safe = _MS_NOSUID | _MS_NODEV
  os.umask(0o022)
  _mount("tmpfs", "/tmp", "tmpfs", safe, "mode=755,size=1m")
  os.mkdir("/tmp/.host")
  number = _SYS_PIVOT_ROOT[os.uname().machine]
  _call(_libc.syscall, number, b"/tmp", b"/tmp/.host")
  os.chdir("/")
  for path in settings["folders"].split(":"):
    if os.path.islink(f"/.host{path}"):
      os.symlink(os.readlink(f"/.host{path}"), path)
    elif os.path.exists(f"/.host{path}"):
      _bind(path, read_only=True)
  for name in DEVICES:
    _bind(f"/dev/{name}", read_only=False)
  for number, name in enumerate(("stdin", "stdout", "stderr")):
    os.symlink(f"/proc/self/fd/{number}", f"/dev/{name}")
  os.mkdir("/proc")
  # Processes only: a container whose own /proc is masked may mount no other.
  _mount("proc", "/proc", "proc", safe | _MS_NOEXEC, "subset=pid")
  os.mkdir("/tmp")
  size = int(settings["file_bytes"])
  _mount("tmpfs", "/tmp", "tmpfs", safe, f"mode=1777,size={size},nr_inodes=4k")
  _call(_libc.umount2, b"/.host", _MNT_DETACH)
  os.rmdir("/.host")
  _mount(None, "/", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | safe)
  os.chdir("/tmp")


def _bind(path: str, *, read_only: bool) -> None:
  """Shows a folder or file of the host, with all that is mounted in it."""
  source = f"/.host{path}"
  if os.path.isdir(source):
    os.makedirs(path, exist_ok=True)
  else:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
  _mount(source, path, None, _MS_BIND | _MS_REC)
  if read_only:
    # One call for all that is mounted there; flags that are set stay set.
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    change = struct.pack("QQQQ", flags, 0, 0, 0)
    _call(
      _libc.syscall,
      _SYS_MOUNT_SETATTR,
      _AT_FDCWD,
      path.encode(),
      _AT_RECURSIVE,
      change,
      len(change),
    )


def _drop_privileges(settings: dict[str, str]) -> None:
  """Another user if we are root, no capability, and none to be had again."""
  for capability in _CAPABILITIES:
    # Fails beyond the last one, and without the capability to do so.
    _libc.prctl(_PR_CAPBSET_DROP, _long(capability), *[_long(0)] * 3)
  # As root, the number of processes has no limit.
  if "uid" in settings:
    uid = int(settings["uid"])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
  header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
  _call(_libc.capset, header, bytes(24))
  _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _limit(settings: dict[str, str]) -> None:
  """Bounds what the process can use; never above what it had."""
  cpu = int(settings["cpu_seconds"])
  size = int(settings["file_bytes"])
  memory = int(settings["memory_bytes"])
  for limit, value in {
    resource.RLIMIT_AS: memory,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: size,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_NOFILE: _NUM_OPEN_FILES,
    resource.RLIMIT_STACK: _STACK_MIB * 2**20,
  }.items():
    value = _at_most(limit, value)
    resource.setrlimit(limit, (value, value))
  # First a signal that tells why, then the one that cannot be ignored.
  hard = _at_most(resource.RLIMIT_CPU, cpu + 1)
  resource.setrlimit(resource.RLIMIT_CPU, (min(cpu, hard), hard))
  # Without namespaces it would count all that the user runs.
  if settings["backend"] != "rlimits_only":
    value = _at_most(resource.RLIMIT_NPROC, int(settings["processes"]))
    resource.setrlimit(resource.RLIMIT_NPROC, (value, value))


def _at_most(limit: int, value: int) -> int:
  _, most = resource.getrlimit(limit)
  return value if most == resource.RLIM_INFINITY else min(value, most)


def _reset_signals() -> None:
  """Undoes what the starter ignores: it would hold for the program too."""
  signal.pthread_sigmask(signal.SIG_SETMASK, [])
  for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU):
    signal.signal(number, signal.SIG_DFL)
  signal.signal(signal.SIGINT, signal.default_int_handler)


def _filter_calls(code: bytes) -> None:
  """Takes the filter of `seccomp`; bubblewrap has applied it already."""
  if code:
    lines = ctypes.create_string_buffer(code)
    header = struct.pack("HP", len(code) // 8, ctypes.addressof(lines))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _end_with_parent() -> None:
  """Has this process killed when its parent dies.

  Should it be dead already, nobody writes to our standard input any more.
  """
  _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _close(descriptors: list[int]) -> None:
  """Those of them that are open."""
  for descriptor in descriptors:
    os.closerange(descriptor, descriptor + 1)


def _write(path: str, text: str) -> None:
  with open(path, "w") as file:
    file.write(text)


def _mount(
  source: str | None,
  target: str,
  kind: str | None,
  flags: int,
  data: str | None = None,
) -> None:
  texts = [x and x.encode() for x in (source, target, kind, data)]
  _call(_libc.mount, *texts[:3], _long(flags), texts[3])


def _prctl(option: int, value: int, pointer: bytes | int = 0) -> None:
  pointer = _long(pointer) if isinstance(pointer, int) else pointer
  _call(_libc.prctl, option, _long(value), pointer, _long(0), _long(0))


def _long(value: int) -> ctypes.c_ulong:
  return ctypes.c_ulong(value)


def _call(function, *arguments) -> None:
  """A function of the C library that returns a negative number on failure."""
  if function(*arguments) < 0:
    number = ctypes.get_errno()
    raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


if __name__ == "__main__":
  main()
