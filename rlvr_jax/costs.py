"""What a compiled program does on each device: counted in its HLO text.

The text is that of a program just split over its devices, when every loop and
every transfer is still there to be read: a loop counts as often as it runs,
which the compiler's own cost analysis does not do. Matrix products stand for
all computation, and what they read and write for all memory traffic.
"""

from collections.abc import Iterator
import dataclasses
import functools
import math
import re
from typing import NamedTuple

# Bytes of an element. Those of less than a byte count as one.
_BYTES = {
  "f64": 8,
  "s64": 8,
  "u64": 8,
  "c64": 8,
  "f32": 4,
  "s32": 4,
  "u32": 4,
  "f16": 2,
  "bf16": 2,
  "s16": 2,
  "u16": 2,
}
# Transfer -> how often a device receives its array, but for the part of 1 / n
# that it holds already, of n devices. The array is what enters a reduce-scatter
# and what leaves an all-gather.
_TRANSFERS = {
  "all-gather": 1.0,
  "reduce-scatter": 1.0,
  "all-reduce": 2.0,
  "all-to-all": 1.0,
  "collective-permute": 1.0,
}


@dataclasses.dataclass(frozen=True)
class Costs:
  """Of one device, in one call.

  Attributes:
    flops: of matrix products, two for each multiplication.
    product_bytes: what these read and write.
    transfer_bytes: what a device receives, by kind of transfer.
    transfers: (kind, type of the array, times), of every place in the program.
    argument_bytes: what the program is called with; of a whole program alone.
    num_unknown: loops that tell no number of rounds, counted as one, and
      kernels that tell no operations, counted as none.
  """

  flops: float = 0.0
  product_bytes: float = 0.0
  transfer_bytes: dict[str, float] = dataclasses.field(default_factory=dict)
  transfers: tuple[tuple[str, str, int], ...] = ()
  argument_bytes: int = 0
  num_unknown: int = 0

  def __add__(self, other: "Costs") -> "Costs":
    kinds = self.transfer_bytes.keys() | other.transfer_bytes.keys()
    both = lambda kind: (
      self.transfer_bytes.get(kind, 0.0) + other.transfer_bytes.get(kind, 0.0)
    )
    return Costs(
      self.flops + other.flops,
      self.product_bytes + other.product_bytes,
      {kind: both(kind) for kind in sorted(kinds)},
      self.transfers + other.transfers,
      num_unknown=self.num_unknown + other.num_unknown,
    )

  def times(self, number: int) -> "Costs":
    """Of so many calls."""
    return Costs(
      self.flops * number,
      self.product_bytes * number,
      {kind: x * number for kind, x in self.transfer_bytes.items()},
      tuple((kind, of, n * number) for kind, of, n in self.transfers),
      num_unknown=self.num_unknown,
    )


class _Instruction(NamedTuple):
  """A line of a computation: %name = type opcode(operands), attributes."""

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  rest: str


def counted(text: str) -> Costs:
  """Costs of a program from the text of its HLO.

  A loop that may end early, such as that of a sampler, counts at its longest;
  of the branches of a conditional the one with the most products counts.

  Args:
    text: of one device's part, as `preflight` has it written down.
  """
  computations, entry = _read(text)

  @functools.cache
  def costs(name: str) -> Costs:
    found = computations[name]
    by_name = {x.name: x for x in found}
    readers = _readers(found)
    total = Costs()
    for x in found:
      total += _own(x, computations, by_name, readers)
      for called, times in _calls(x, computations, by_name):
        total += costs(called).times(times)
      if x.opcode == "conditional":
        branches = [costs(name) for name in _branches(x)]
        total += max(branches, key=lambda c: c.flops, default=Costs())
    return total

  arguments = sum(
    num_bytes(x.type) for x in computations[entry] if x.opcode == "parameter"
  )
  return dataclasses.replace(costs(entry), argument_bytes=arguments)


def _own(x: _Instruction, computations, found, readers) -> Costs:
  """Of an instruction without what it calls."""
  if x.opcode == "dot":
    left, right = (found[name].type for name in x.operands)
    dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", x.rest)
    shape = _shape(left)
    inner = [shape[int(i)] for i in dims[1].split(",") if i] if dims else []
    return Costs(
      flops=2.0 * math.prod(_shape(x.type)) * math.prod(inner),
      product_bytes=float(sum(map(num_bytes, (left, right, x.type)))),
    )
  kind = x.opcode.removesuffix("-start")
  if kind in _TRANSFERS:
    return _transfer(x, kind, found, readers)
  if x.opcode == "while":
    return Costs(num_unknown=int(_rounds(x, computations, found) is None))
  if x.opcode == "custom-call" and "tpu_custom_call" in x.rest:
    return _kernel(x)
  return Costs()


def _transfer(x: _Instruction, kind: str, found, readers) -> Costs:
  number = _group_size(x.rest)
  of = x.type
  if kind == "reduce-scatter":
    of = found[x.operands[0]].type
  # What a TPU compiler makes of a sum of which each device reads a slice.
  if kind == "all-reduce" and readers.get(x.name) == {"dynamic-slice"}:
    kind = "reduce-scatter"
  share = (number - 1) / number if number else 1.0
  return Costs(
    transfer_bytes={kind: _TRANSFERS[kind] * share * num_bytes(of)},
    transfers=((kind, re.sub(r"\{[^}]*\}", "", of), 1),),
  )


def _kernel(x: _Instruction) -> Costs:
  """What a kernel's author says of it; the compiler cannot look inside."""
  said = re.search(r'cost_estimate\\?"\s*:\s*\{([^}]*)\}', x.rest)
  number = lambda name: re.search(rf'{name}\\?"\s*:\s*\\?"?(\d+)', said[1])
  if not said or not number("flops"):
    return Costs(num_unknown=1)
  read = number("bytes_accessed")
  return Costs(
    flops=float(number("flops")[1]),
    product_bytes=float(read[1]) if read else 0.0,
  )


def _calls(x: _Instruction, computations, found) -> Iterator[tuple[str, int]]:
  """Computations that an instruction runs, and how often."""
  if x.opcode == "while":
    rounds = _rounds(x, computations, found)
    yield _called(x, "body"), 1 if rounds is None else rounds
  elif x.opcode in ("call", "fusion", "async-start"):
    called = re.search(r"(?:calls|to_apply)=%?([\w.\-]+)", x.rest)
    if called:
      yield called[1], 1


def _branches(x: _Instruction) -> list[str]:
  found = re.search(r"branch_computations=\{([^}]*)\}", x.rest)
  if found:
    return [name.strip().lstrip("%") for name in found[1].split(",")]
  return re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", x.rest)


def _rounds(x: _Instruction, computations, found) -> int | None:
  """Of a loop that counts up to a constant, perhaps ending early.

  Args:
    x: the loop.
    computations: of the program.
    found: instructions of the computation that the loop is in, by name.
  """
  rounds = []
  for places, bound in _counters(x, computations).items():
    values = _origin(x.operands[0], found)
    starts = [
      _at_the_end(found.get(values.operands[i]), computations, found)
      for i in places
      if values.opcode == "tuple"
    ]
    rounds.append(bound - sum(y or 0 for y in starts))
  return min(rounds, default=None)


def _counters(x: _Instruction, computations) -> dict[frozenset[int], int]:
  """What a loop counts up by one a round, and to where.

  A counter is a place in the loop's tuple, or two that are added up.
  """
  condition = computations[_called(x, "condition")]
  body = computations[_called(x, "body")]
  by_name = {y.name: y for y in condition}
  counters = {}
  for y in condition:
    if y.opcode == "compare" and "direction=LT" in y.rest:
      counter, bound = (_origin(name, by_name) for name in y.operands)
      if not counter or not bound or bound.opcode != "constant":
        continue
      parts = [counter]
      if counter.opcode == "add":
        parts = [_origin(name, by_name) for name in counter.operands]
      if all(x and x.opcode == "get-tuple-element" for x in parts):
        places = frozenset(map(_place, parts))
        if sum(_step(body, place) for place in places) == 1:
          counters[places] = int(bound.operands[0])
  return counters


def _step(body: list[_Instruction], place: int) -> float:
  """What a round adds to a place of the loop's tuple; NaN where not clear."""
  by_name = {y.name: y for y in body}
  new = _origin(body[-1].operands[place], by_name)
  is_old = lambda y: (
    y and y.opcode == "get-tuple-element" and _place(y) == place
  )
  if is_old(new):
    return 0
  if new and new.opcode == "add":
    left, right = (_origin(name, by_name) for name in new.operands)
    if is_old(left) and right and right.opcode == "constant":
      return int(right.operands[0])
  return math.nan


def _origin(name: str, by_name) -> _Instruction | None:
  """What a value is a copy of, or itself."""
  value = by_name.get(name)
  while value and value.opcode == "copy":
    value = by_name.get(value.operands[0])
  return value


def _at_the_end(value, computations, found) -> int | None:
  """An integer, where it is a constant or what loops have counted."""
  ends = functools.partial(_at_the_end, computations=computations, found=found)
  if not value:
    return None
  if value.opcode == "constant":
    return int(value.operands[0])
  operands = [found.get(name) for name in value.operands]
  if value.opcode in ("copy", "bitcast", "reshape"):
    return ends(operands[0])
  if value.opcode == "add":
    both = [ends(x) for x in operands]
    return None if None in both else sum(both)
  if value.opcode != "get-tuple-element" or not operands[0]:
    return None
  loop, place = operands[0], _place(value)
  if loop.opcode != "while":
    return None
  values = _origin(loop.operands[0], found)
  start = lambda place: ends(found.get(values.operands[place]))
  if _step(computations[_called(loop, "body")], place) == 0:
    return start(place)
  for places, bound in _counters(loop, computations).items():
    if place in places:
      return bound - sum(start(x) or 0 for x in places - {place})
  return None


def _called(x: _Instruction, role: str) -> str:
  return re.search(rf"{role}=%?([\w.\-]+)", x.rest)[1]


def _place(x: _Instruction) -> int:
  """Of a get-tuple-element."""
  return int(re.search(r"index=(\d+)", x.rest)[1])


def _readers(instructions: list[_Instruction]) -> dict[str, set[str]]:
  """What reads each value, through reshapes."""
  readers: dict[str, set[str]] = {}
  for x in reversed(instructions):
    through = x.opcode in ("reshape", "bitcast", "copy")
    who = readers.get(x.name, set()) if through else {x.opcode}
    for operand in x.operands:
      readers.setdefault(operand, set()).update(who)
  return readers


_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_ASSIGNED = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")


def _read(text: str) -> tuple[dict[str, list[_Instruction]], str]:
  """Computations by name, and the name of the first to run."""
  computations: dict[str, list[_Instruction]] = {}
  entry, current = "", None
  for line in text.splitlines():
    header = _HEADER.match(line)
    if header:
      current = computations.setdefault(header[2], [])
      entry = header[2] if header[1] else entry
      continue
    assigned = _ASSIGNED.match(line)
    if assigned and current is not None:
      current.append(_instruction(assigned[1], line[assigned.end() :]))
  return computations, entry


def _instruction(name: str, text: str) -> _Instruction:
  end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
  kind, rest = text[:end], text[end:].lstrip()
  opcode, rest = rest.split("(", 1)
  end = _closing("(" + rest) - 1
  operands = tuple(
    re.sub(r"/\*.*?\*/", "", x).strip().split(" ")[-1].lstrip("%")
    for x in _split(rest[:end])
  )
  return _Instruction(name, kind, opcode.strip(), operands, rest[end:])


def _closing(text: str) -> int:
  """Where the bracket that the text begins with is closed."""
  depth = 0
  for place, letter in enumerate(text):
    depth += (letter in "({[") - (letter in ")}]")
    if depth == 0:
      return place
  return len(text) - 1


def _split(text: str) -> list[str]:
  """At commas outside of brackets."""
  parts, depth, start = [], 0, 0
  for place, letter in enumerate(text):
    depth += (letter in "({[") - (letter in ")}]")
    if letter == "," and depth == 0:
      parts.append(text[start:place])
      start = place + 1
  return [*parts, text[start:]] if text.strip() else []


_ARRAY = re.compile(r"([a-z]+[0-9]*\w*)\[([\d,]*)\]")


def _shape(of: str) -> list[int]:
  found = _ARRAY.search(of)
  return [int(x) for x in found[2].split(",") if x] if found else []


def num_bytes(of: str) -> int:
  """Bytes of an array's type, such as f32[8,16], or of all of a tuple's."""
  return sum(
    _BYTES.get(kind, 1) * math.prod(int(x) for x in dims.split(",") if x)
    for kind, dims in _ARRAY.findall(of)
  )


def _group_size(rest: str) -> int:
  """How many devices a transfer is among; 0 where it does not say."""
  named = re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", rest)
  if named:
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
    axes = re.findall(r"'([^']+)'", named[2])
    return math.prod(int(sizes[axis]) for axis in axes)
  tiled = re.search(r"replica_groups=\[\d+,(\d+)\]", rest)
  if tiled:
    return int(tiled[1])
  listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
  return len(listed[1].split(",")) if listed else 0
