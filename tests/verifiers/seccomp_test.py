"""The filter, run by the rules of the machine that the kernel has for it."""

import struct

import pytest

from rlvr_jax.verifiers import seccomp


def _filtered(machine, arch, number, argument=0, forks=False):
  """What the filter says of a call, by the rules of the packet machine."""
  code = seccomp.program(machine, forks=forks)
  data = struct.pack("<iIQ6Q", number, arch, 0, argument, *[0] * 5)
  lines = list(struct.iter_unpack("<HBBI", code))
  value, at = 0, 0
  while True:
    kind, yes, no, operand = lines[at]
    at += 1
    if kind == 0x20:
      (value,) = struct.unpack_from("<I", data, operand)
    elif kind == 0x06:
      return operand
    else:
      holds = {
        0x15: value == operand,
        0x35: value >= operand,
        0x45: value & operand,
      }[kind]
      at += yes if holds else no


@pytest.mark.parametrize(
  "machine, arch, column",
  [("x86_64", 0xC000003E, 0), ("aarch64", 0xC00000B7, 1)],
)
def test_the_filter_decides_as_told_on_either_machine(machine, arch, column):
  allow, kill, refuse, unknown = 0x7FFF0000, 0x80000000, 0x50001, 0x50026
  say = lambda *call, **options: _filtered(machine, arch, *call, **options)
  clone, thread, new_user = seccomp._CLONE[column], 0x3D0F00, 0x10000000
  for pair in seccomp._REFUSED.values():
    assert pair[column] is None or say(pair[column]) == refuse
  assert say(clone, thread) == allow
  assert say(clone, thread | new_user) == refuse
  assert say(clone, 17) == refuse and say(clone, 17, forks=True) == allow
  assert say(clone, 17 | new_user, forks=True) == refuse
  assert say(435) == unknown
  # read, close, mmap, exit_group.
  for number in [(0, 3, 9, 231), (63, 57, 222, 94)][column]:
    assert say(number) == allow
  assert _filtered(machine, 0x40000003, 0) == kill
  assert say(0x40000000) == kill
  assert seccomp.program("riscv64", forks=False) == b""
