"""What a compiled program reads and writes in a device's main memory.

Counted in the text of the optimized program, operation by operation: what an
operation takes from main memory and what it leaves there. A slice counts as
long as it is, not as what it is taken from, and so does what is written into
an array in place. What a TPU holds in its vector memory counts nothing.
"""

from collections.abc import Mapping
import functools
import re

from rlvr_jax.sizing import costs
from rlvr_jax.sizing import hlo_text
from rlvr_jax.sizing.hlo_text import Instruction

# What moves nothing: other names for values, and ends of what has begun.
_FREE = {
  *("after-all", "bitcast", "constant", "get-tuple-element", "parameter"),
  *("partition-id", "replica-id", "tuple"),
}
_SLICING = {"dynamic-slice", "gather", "slice"}
_ASYNC_SLICING = {f"{opcode}-start" for opcode in _SLICING}
# Types of a TPU's other memories end in their numbers: {1,0:T(8,128)S(1)}.
_ELSEWHERE = re.compile(r"[a-z]+\d*\w*\[[\d,]*\]\{[^}]*S\([1-9]\d*\)[^}]*\}")

Computations = Mapping[str, list[Instruction]]


def of_loops(text: str) -> dict[str, float]:
  """Bytes of a round of every loop, by the name of the loop's body.

  A loop within counts as often as it is known to run, or else once.
  """
  computations, _ = hlo_text.read(text)

  @functools.cache
  def moved(name: str) -> float:
    by_name = {x.name: x for x in computations[name]}
    return sum(own(x, by_name) for x in computations[name])

  def own(x: Instruction, by_name) -> float:
    if x.opcode == "while":
      return rounds(x) * moved(body(x))
    if x.opcode == "conditional":
      return max(map(moved, costs.branches(x)), default=0.0)
    called = costs.called_by(x)
    if called and x.opcode != "fusion":
      return moved(called)
    return of_operation(x, by_name, computations)

  return {
    body(x): moved(body(x))
    for found in computations.values()
    for x in found
    if x.opcode == "while"
  }


def body(loop: Instruction) -> str:
  """The computation that a loop repeats."""
  return re.search(r"body=%?([\w.\-]+)", loop.rest)[1]


def rounds(loop: Instruction) -> int:
  """How often a loop is known to run, or 1."""
  known = re.search(r'known_trip_count"?:\s*\{"?n"?:\s*"?(\d+)', loop.rest)
  return int(known[1]) if known else 1


def of_operation(
  x: Instruction, by_name: Mapping[str, Instruction], computations: Computations
) -> float:
  """Bytes that an operation reads and writes.

  Args:
    x: what runs.
    by_name: the instructions beside it.
    computations: of the program.
  """
  if x.opcode in _FREE or x.opcode.endswith("-done"):
    return 0.0
  if x.opcode == "fusion":
    inside = computations[costs.called_by(x)]
    taken = [
      _taken(inside, place, computations) for place in range(len(x.operands))
    ]
    read = sum(
      min(_bytes(by_name[name].type), taken)
      for name, taken in zip(x.operands, taken, strict=True)
    )
    return read + _left(x.type, inside, computations)
  if x.opcode == "dynamic-update-slice":
    return 2 * _bytes(by_name[x.operands[1]].type)
  if x.opcode in _SLICING:
    return 2 * _bytes(x.type)
  out = x.type
  if x.opcode in _ASYNC_SLICING:
    # ((what it is taken from), what arrives, ...)
    out = hlo_text.elements(x.type)[1]
    return hlo_text.num_bytes(out) + _bytes(out)
  if x.opcode == "copy-start":
    # (what arrives, what it is copied from, ...)
    out = hlo_text.elements(x.type)[0]
  operands = sum(_bytes(by_name[name].type) for name in x.operands)
  return operands + _bytes(out)


def _bytes(of: str) -> float:
  return float(hlo_text.num_bytes(_ELSEWHERE.sub("", of)))


def _taken(inside: list[Instruction], place: int, computations) -> float:
  """Bytes at most that a fusion reads of an operand; all of it: infinity."""
  (own,) = [
    x for x in inside if x.opcode == "parameter" and x.operands[0] == str(place)
  ]
  return _used(own.name, inside, computations)


def _used(name: str, inside: list[Instruction], computations) -> float:
  total = 0.0
  if name == inside[-1].name:
    return float("inf")
  for x in inside:
    if name not in x.operands:
      continue
    if x.opcode == "bitcast":
      total += _used(x.name, inside, computations)
    elif x.opcode in _SLICING and name == x.operands[0]:
      total += hlo_text.num_bytes(x.type)
    elif x.opcode == "fusion":
      called = computations[costs.called_by(x)]
      total += sum(
        _taken(called, place, computations)
        for place, operand in enumerate(x.operands)
        if operand == name
      )
    elif x.opcode != "dynamic-update-slice" or name != x.operands[0]:
      return float("inf")
  return total


def _left(of: str, inside: list[Instruction], computations) -> float:
  """Bytes that a fusion of a type writes."""
  by_name = {x.name: x for x in inside}

  def written(x: Instruction, of: str) -> float:
    if x.opcode == "tuple":
      kinds = hlo_text.elements(of)
      return sum(
        written(by_name[name], kind)
        for name, kind in zip(x.operands, kinds, strict=True)
      )
    if x.opcode == "bitcast":
      return written(by_name[x.operands[0]], of)
    if x.opcode == "dynamic-update-slice" and _bytes(of):
      return float(hlo_text.num_bytes(by_name[x.operands[1]].type))
    if x.opcode == "fusion":
      return _left(of, computations[costs.called_by(x)], computations)
    return _bytes(of)

  return written(inside[-1], of)
