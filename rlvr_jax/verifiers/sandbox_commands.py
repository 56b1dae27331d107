"""The command lines that start a sandbox; what runs in it is `sandbox_inside`.

command      what to execute
environment  all that it inherits
"""

from collections.abc import Sequence
import os
import pathlib
import sys

from rlvr_jax.verifiers import sandbox_inside

_INSIDE = str(pathlib.Path(sandbox_inside.__file__).resolve())
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache")
# Where some systems keep all of their libraries.
_STORES = ("/nix/store", "/gnu/store")
# No site: neither packages nor their start-up files. -P and -s: no folder that
# the program can write to is searched for modules.
_FLAGS = ("-S", "-P", "-s", "-B", "-X", "utf8")


def environment(folder: str) -> dict[str, str]:
  """All variables that the program has; folder is where it may write."""
  return {
    "HOME": folder,
    "LANG": "C.UTF-8",
    # One for each thread would fill the address space, empty.
    "MALLOC_ARENA_MAX": "1",
    "PATH": "/usr/bin:/bin",
    # A verdict must not change with the order of a set.
    "PYTHONHASHSEED": "0",
    "TMPDIR": folder,
  }


def command(
  words: dict[str, str], descriptors: Sequence[int], has_filter: bool
) -> list[str]:
  """What to execute.

  Args:
    words: settings of `sandbox_inside`, but for its descriptors.
    descriptors: it writes to the first when it is ready and to the second
      which process to kill, and reads the filter from the third.
    has_filter: whether there is one.
  """
  words = words | {"descriptors": ",".join(map(str, descriptors))}
  if words["backend"] != "bubblewrap":
    return _python(_INSIDE, words | {"folders": ":".join(_folders())})
  _, info, filter_source = map(str, descriptors)
  start = _bubblewrap(words) + ["--info-fd", info]
  if has_filter:
    start += ["--seccomp", filter_source]
  return start + _python("/inside.py", words)


def _bubblewrap(words: dict[str, str]) -> list[str]:
  """Namespaces of bwrap.

  As root there is no user namespace: a user of it would still be root outside,
  whom no limit on processes holds. The program becomes another user by itself,
  and until then keeps the capabilities which that takes.
  """
  command = ["bwrap", "--die-with-parent", "--new-session"]
  for kind in ("pid", "net", "ipc", "uts", "cgroup-try"):
    command.append(f"--unshare-{kind}")
  if "uid" in words:
    command += ["--cap-drop", "ALL"]
    for capability in ("SETUID", "SETGID", "SETPCAP"):
      command += ["--cap-add", f"CAP_{capability}"]
  else:
    nobody = str(sandbox_inside.NOBODY)
    command += ["--unshare-user", "--uid", nobody, "--gid", nobody]
  for path in _folders():
    if os.path.islink(path):
      command += ["--symlink", os.readlink(path), path]
    else:
      # Else they would be as closed to others as the host's.
      for parent in reversed(pathlib.Path(path).parents[:-1]):
        command += ["--dir", str(parent)]
      command += ["--ro-bind", path, path]
  command += ["--dir", "/dev"]
  for name in sandbox_inside.DEVICES:
    command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
  for number, name in enumerate(("stdin", "stdout", "stderr")):
    command += ["--symlink", f"/proc/self/fd/{number}", f"/dev/{name}"]
  command += ["--proc", "/proc", "--ro-bind", _INSIDE, "/inside.py"]
  command += ["--size", words["file_bytes"], "--perms", "1777"]
  command += ["--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
  return command


def _python(script: str, words: dict[str, str]) -> list[str]:
  # The one below a virtual environment, whose folder is not shown.
  interpreter = os.path.realpath(sys.executable)
  pairs = [f"{key}={value}" for key, value in words.items()]
  return [interpreter, *_FLAGS, script, *pairs]


def _folders() -> list[str]:
  """What a program sees of the host: the system's folders, and Python's."""
  prefix = os.path.realpath(sys.base_prefix)
  shown = [path for path in (*_SYSTEM, *_STORES) if os.path.lexists(path)]
  if not any(f"{prefix}/".startswith(f"{path}/") for path in shown):
    shown.append(prefix)
  return shown
