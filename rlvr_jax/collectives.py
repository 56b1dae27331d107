"""What a compiled program sends between devices, read off its HLO text."""

import collections
import math
import re
from typing import NamedTuple

KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
_BYTES = {
  "pred": 1,
  "s8": 1,
  "u8": 1,
  "bf16": 2,
  "f16": 2,
  "s16": 2,
  "u16": 2,
  "f32": 4,
  "s32": 4,
  "u32": 4,
  "f64": 8,
  "s64": 8,
  "u64": 8,
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
  r"^\s+(?:ROOT )?%?[\w.\-]+ = (?P<shape>.*?) (?P<op>[a-z][\w\-]*)\("
)
_CALLED = re.compile(
  r"(?:body|condition|calls|to_apply|true_computation|false_computation)="
  r"%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# A loop that counts up from 0, as `lax.scan` and `lax.fori_loop` make them.
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_BELOW = re.compile(
  r"ROOT .* compare\([^,]*%[\w.\-]+, [^,]*%([\w.\-]+)\), direction=LT"
)
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


class Collective(NamedTuple):
  """One kind of transfer of one shape.

  Attributes:
    kind: out of KINDS.
    shape: of the result on each device, as HLO writes it.
    num_bytes: of that.
    times: how often it runs in a call of the program.
  """

  kind: str
  shape: str
  num_bytes: int
  times: int


def collectives(hlo: str, unknown_trips: int = 1) -> list[Collective]:
  """All transfers of a program, those that move most in a call first.

  Args:
    hlo: text of the compiled module.
    unknown_trips: turns of a loop whose number is not known before it runs,
      such as that of decoding.
  """
  computations, entry = _split(hlo)
  times = _times(computations, entry, unknown_trips)
  found = collections.Counter()
  for name, lines in computations.items():
    for line in lines:
      match = _INSTRUCTION.match(line)
      kind = match and match["op"].removesuffix("-start")
      if kind in KINDS:
        shape = _result(match["shape"], match["op"] != kind)
        found[kind, shape] += times[name]
  parts = [
    Collective(kind, shape, num_bytes(shape), number)
    for (kind, shape), number in found.items()
    if number
  ]
  return sorted(parts, key=lambda x: -x.num_bytes * x.times)


def bytes_by_kind(parts: list[Collective]) -> dict[str, int]:
  """Bytes that a device receives in a call of the program."""
  found = collections.Counter()
  for part in parts:
    found[part.kind] += part.num_bytes * part.times
  return dict(found)


def num_bytes(shape: str) -> int:
  """Of one array or a tuple of them; example: num_bytes("f32[2,3]") == 24."""
  return sum(
    _BYTES.get(dtype, 4) * math.prod(int(x) for x in sizes.split(",") if x)
    for dtype, sizes in _ARRAY.findall(shape)
  )


def _result(shape: str, is_start: bool) -> str:
  """What is received: the last part of what a transfer's start gives."""
  arrays = [f"{dtype}[{sizes}]" for dtype, sizes in _ARRAY.findall(shape)]
  if is_start and shape.startswith("("):
    arrays = arrays[len(arrays) // 2 :]
  return ",".join(arrays)


def _split(hlo: str) -> tuple[dict[str, list[str]], str]:
  """Lines by computation, and the name of the first that runs."""
  computations, entry, current = {}, "", None
  for line in hlo.splitlines():
    if match := _COMPUTATION.match(line):
      current = computations.setdefault(match[2], [])
      entry = match[2] if match[1] else entry
    elif line.startswith("}"):
      current = None
    elif current is not None:
      current.append(line)
  return computations, entry


def _times(
  computations: dict[str, list[str]], entry: str, unknown_trips: int
) -> dict[str, int]:
  """How often each computation runs."""
  times = collections.Counter()

  def visit(name: str, number: int) -> None:
    if name not in computations:
      return
    times[name] += number
    for line in computations[name]:
      called = _CALLED.findall(line)
      if match := _BRANCHES.search(line):
        called += [x.strip().lstrip("%") for x in match[1].split(",")]
      trips = 1
      if " while(" in line:
        trips = _trips(line, computations) or unknown_trips
      for other in called:
        visit(other, number * trips)

  visit(entry, 1)
  return times


def _trips(line: str, computations: dict[str, list[str]]) -> int | None:
  """Turns of a `while`, where it is told how many they are."""
  if known := _TRIPS.search(line):
    return int(known[1])
  condition = computations.get(_CONDITION.search(line)[1], [])
  limits = [match[1] for x in condition if (match := _BELOW.search(x))]
  for name in limits:
    constant = re.compile(rf"%{re.escape(name)} = s32.* constant\((\d+)\)")
    for x in condition:
      if match := constant.search(x):
        return int(match[1])
  return None
