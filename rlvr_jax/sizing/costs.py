"""What a compiled program does on each device: counted in its HLO text.

The text is that of a program just split over its devices, when every loop and
every transfer is still there to be read: a loop counts as often as it runs,
which the compiler's own cost analysis does not do. Matrix products stand for
all computation, and what they read and write for all memory traffic.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
import math
import re

from rlvr_jax.sizing import hlo_text
from rlvr_jax.sizing.hlo_text import Instruction

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


def counted(text: str) -> Costs:
  """Costs of a program from the text of its HLO.

  A loop that may end early, such as that of a sampler, counts at its longest;
  of the branches of a conditional the one with the most products counts.

  Args:
    text: of one device's part, as `preflight` has it written down.
  """
  computations, entry = hlo_text.read(text)

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
        of_branches = [costs(name) for name in branches(x)]
        total += max(of_branches, key=lambda c: c.flops, default=Costs())
    return total

  arguments = sum(
    hlo_text.num_bytes(x.type)
    for x in computations[entry]
    if x.opcode == "parameter"
  )
  return dataclasses.replace(costs(entry), argument_bytes=arguments)


def product_flops(x: Instruction, found: Mapping[str, Instruction]) -> float:
  """Of a matrix product, two for each multiplication.

  Args:
    x: of the opcode "dot".
    found: instructions of the computation that it is in, by name.
  """
  dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", x.rest)
  shape = hlo_text.shape(found[x.operands[0]].type)
  inner = [shape[int(i)] for i in dims[1].split(",") if i] if dims else []
  return 2.0 * math.prod(hlo_text.shape(x.type)) * math.prod(inner)


def _own(x: Instruction, computations, found, readers) -> Costs:
  """Of an instruction without what it calls."""
  if x.opcode == "dot":
    types = [*(found[name].type for name in x.operands), x.type]
    return Costs(
      flops=product_flops(x, found),
      product_bytes=float(sum(map(hlo_text.num_bytes, types))),
    )
  kind = x.opcode.removesuffix("-start")
  if kind in _TRANSFERS:
    return _transfer(x, kind, found, readers)
  if x.opcode == "while":
    return Costs(num_unknown=int(_rounds(x, computations, found) is None))
  if x.opcode == "custom-call" and "tpu_custom_call" in x.rest:
    return _kernel(x)
  return Costs()


def _transfer(x: Instruction, kind: str, found, readers) -> Costs:
  number = hlo_text.group_size(x.rest)
  of = x.type
  if kind == "reduce-scatter":
    of = found[x.operands[0]].type
  # What a TPU compiler makes of a sum of which each device reads a slice.
  if kind == "all-reduce" and readers.get(x.name) == {"dynamic-slice"}:
    kind = "reduce-scatter"
  share = (number - 1) / number if number else 1.0
  return Costs(
    transfer_bytes={kind: _TRANSFERS[kind] * share * hlo_text.num_bytes(of)},
    transfers=((kind, re.sub(r"\{[^}]*\}", "", of), 1),),
  )


def _kernel(x: Instruction) -> Costs:
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


def _calls(x: Instruction, computations, found) -> Iterator[tuple[str, int]]:
  """Computations that an instruction runs, and how often."""
  if x.opcode == "while":
    rounds = _rounds(x, computations, found)
    yield _called(x, "body"), 1 if rounds is None else rounds
  elif called := called_by(x):
    yield called, 1


def called_by(x: Instruction) -> str | None:
  """The computation that an instruction runs once, if it is such a one."""
  if x.opcode not in ("call", "fusion", "async-start"):
    return None
  called = re.search(r"(?:calls|to_apply)=%?([\w.\-]+)", x.rest)
  return called[1] if called else None


def branches(x: Instruction) -> list[str]:
  """The computations of which a conditional runs one."""
  found = re.search(r"branch_computations=\{([^}]*)\}", x.rest)
  if found:
    return [name.strip().lstrip("%") for name in found[1].split(",")]
  return re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", x.rest)


def _rounds(x: Instruction, computations, found) -> int | None:
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


def _counters(x: Instruction, computations) -> dict[frozenset[int], int]:
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


def _step(body: list[Instruction], place: int) -> float:
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


def _origin(name: str, by_name) -> Instruction | None:
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


def _called(x: Instruction, role: str) -> str:
  return re.search(rf"{role}=%?([\w.\-]+)", x.rest)[1]


def _place(x: Instruction) -> int:
  """Of a get-tuple-element."""
  return int(re.search(r"index=(\d+)", x.rest)[1])


def _readers(instructions: list[Instruction]) -> dict[str, set[str]]:
  """What reads each value, through reshapes."""
  readers: dict[str, set[str]] = {}
  for x in reversed(instructions):
    through = x.opcode in ("reshape", "bitcast", "copy")
    who = readers.get(x.name, set()) if through else {x.opcode}
    for operand in x.operands:
      readers.setdefault(operand, set()).update(who)
  return readers
