"""A filter of system calls, as a program for the kernel's packet machine.

What a program for unit tests never needs is refused: the network, other
processes' memory, mounts, namespaces, keys, modules, and the calls whose memory
no resource limit counts. Most of it a sandbox without privileges would refuse
anyway; the filter is the second wall, and keeps the kernel's rarer doors shut.

Only what is named here is refused, with the error "operation not permitted".
"""

import errno
import struct

# Name -> number on x86_64 and on aarch64; None where there is no such call.
_REFUSED = {
  # Other processes.
  "ptrace": (101, 117),
  "process_vm_readv": (310, 270),
  "process_vm_writev": (311, 271),
  "process_madvise": (440, 440),
  "pidfd_getfd": (438, 438),
  "kcmp": (312, 272),
  # The network, by its front door and by the side entrance.
  "socket": (41, 198),
  "io_uring_setup": (425, 425),
  "io_uring_enter": (426, 426),
  "io_uring_register": (427, 427),
  # Mounts and namespaces.
  "mount": (165, 40),
  "umount2": (166, 39),
  "pivot_root": (155, 41),
  "chroot": (161, 51),
  "unshare": (272, 97),
  "setns": (308, 268),
  "open_tree": (428, 428),
  "move_mount": (429, 429),
  "fsopen": (430, 430),
  "fsconfig": (431, 431),
  "fsmount": (432, 432),
  "fspick": (433, 433),
  "mount_setattr": (442, 442),
  "name_to_handle_at": (303, 264),
  "open_by_handle_at": (304, 265),
  # Memory that neither the address space nor the size of a file bounds.
  "memfd_create": (319, 279),
  "memfd_secret": (447, 447),
  "shmget": (29, 194),
  "msgget": (68, 186),
  "semget": (64, 190),
  "mq_open": (240, 180),
  # The kernel and the machine.
  "add_key": (248, 217),
  "request_key": (249, 218),
  "keyctl": (250, 219),
  "bpf": (321, 280),
  "perf_event_open": (298, 241),
  "userfaultfd": (323, 282),
  "fanotify_init": (300, 262),
  "kexec_load": (246, 104),
  "kexec_file_load": (320, 294),
  "init_module": (175, 105),
  "finit_module": (313, 273),
  "delete_module": (176, 106),
  "reboot": (169, 142),
  "swapon": (167, 224),
  "swapoff": (168, 225),
  "acct": (163, 89),
  "quotactl": (179, 60),
  "quotactl_fd": (443, 443),
  "syslog": (103, 116),
  "settimeofday": (164, 170),
  "clock_settime": (227, 112),
  "adjtimex": (159, 171),
  "clock_adjtime": (305, 266),
  "sethostname": (170, 161),
  "setdomainname": (171, 162),
  "personality": (135, 92),
  "vhangup": (153, 58),
  "modify_ldt": (154, None),
  "iopl": (172, None),
  "ioperm": (173, None),
}
_FORKS = {"fork": (57, None), "vfork": (58, None)}
_CLONE = (56, 220)
_CLONE3 = (435, 435)
# The machine's name -> its column above, and the kernel's number for it.
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# The new mount, cgroup, uts, ipc, user, pid and net namespaces.
_CLONE_NEW = 0x7E020000
_CLONE_THREAD = 0x00010000
# Numbers from here on are of the x32 interface, which nothing of ours uses.
_X32 = 0x40000000

_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_LOAD, _RETURN = 0x20, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str, *, forks: bool) -> bytes:
  """The filter, as an array of the kernel's `struct sock_filter`.

  Args:
    machine: as `platform.machine()` names it.
    forks: whether new processes may be made; threads always may.

  Returns:
    Its bytes; none for a machine whose calls are not listed here.
  """
  if machine not in _MACHINES:
    return b""
  column, number = _MACHINES[machine]
  refused = [*_REFUSED.values(), *([] if forks else _FORKS.values())]
  lines = [
    (_LOAD, 0, 0, _MACHINE),
    (_IF_EQUAL, 1, 0, number),
    (_RETURN, 0, 0, _KILL),
    (_LOAD, 0, 0, _NUMBER),
    (_IF_AT_LEAST, 0, 1, _X32),
    (_RETURN, 0, 0, _KILL),
    # Its flags lie in memory, where no filter can look: glibc falls back to
    # the older call when there is no such one.
    *_refuse(_CLONE3[column], errno.ENOSYS),
  ]
  for numbers in refused:
    if numbers[column] is not None:
      lines += _refuse(numbers[column], errno.EPERM)
  lines += [
    (_IF_EQUAL, 1, 0, _CLONE[column]),
    (_RETURN, 0, 0, _ALLOW),
    (_LOAD, 0, 0, _FIRST_ARGUMENT),
    (_IF_ANY_BIT, 0, 1, _CLONE_NEW),
    (_RETURN, 0, 0, _ERROR | errno.EPERM),
  ]
  if not forks:
    lines += [
      (_IF_ANY_BIT, 1, 0, _CLONE_THREAD),
      (_RETURN, 0, 0, _ERROR | errno.EPERM),
    ]
  lines.append((_RETURN, 0, 0, _ALLOW))
  return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _refuse(number: int, error: int) -> list[tuple[int, int, int, int]]:
  return [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | error)]
