"""The text that a compiler writes of a program, as instructions."""

from collections.abc import Iterator
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


class Instruction(NamedTuple):
  """A line of a computation: %name = type opcode(operands), attributes."""

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  rest: str


_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_ASSIGNED = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")


def read(text: str) -> tuple[dict[str, list[Instruction]], str]:
  """Computations by name, and the name of the first to run."""
  computations: dict[str, list[Instruction]] = {}
  entry, current = "", None
  for line in text.splitlines():
    header = _HEADER.match(line)
    if header:
      current = computations.setdefault(header[2], [])
      entry = header[2] if header[1] else entry
      continue
    assigned = _ASSIGNED.match(line)
    if assigned and current is not None:
      found = _instruction(assigned[1], line[assigned.end() :])
      current += [*_named_elements(found, current), found]
  return computations, entry


def _named_elements(
  read: Instruction, before: list[Instruction]
) -> Iterator[Instruction]:
  """Elements of tuples that an instruction names as %tuple#2, as of jax 0.11.

  Each becomes the get-tuple-element that it is short for.
  """
  types = {x.name: x.type for x in before}
  for name in dict.fromkeys(read.operands):
    base, mark, place = name.partition("#")
    if mark and name not in types and base in types:
      kind = elements(types[base])[int(place)]
      yield Instruction(
        name, kind, "get-tuple-element", (base,), f"), index={place}"
      )


def _instruction(name: str, text: str) -> Instruction:
  end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
  kind, rest = text[:end], text[end:].lstrip()
  opcode, rest = rest.split("(", 1)
  end = _closing("(" + rest) - 1
  operands = tuple(
    re.sub(r"/\*.*?\*/", "", x).strip().split(" ")[-1].lstrip("%")
    for x in _split(rest[:end])
  )
  return Instruction(name, kind, opcode.strip(), operands, rest[end:])


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


def elements(of: str) -> list[str]:
  """The types in a tuple's: f32[8] and s32[] of (f32[8], s32[])."""
  kinds = _split(of.strip()[1:-1])
  return [re.sub(r"/\*.*?\*/", "", x).strip() for x in kinds]


_ARRAY = re.compile(r"([a-z]+[0-9]*\w*)\[([\d,]*)\]")


def shape(of: str) -> list[int]:
  """Of an array's type: [8, 16] of f32[8,16]."""
  found = _ARRAY.search(of)
  return [int(x) for x in found[2].split(",") if x] if found else []


def num_bytes(of: str) -> int:
  """Bytes of an array's type, such as f32[8,16], or of all of a tuple's."""
  return sum(
    _BYTES.get(kind, 1) * math.prod(int(x) for x in dims.split(",") if x)
    for kind, dims in _ARRAY.findall(of)
  )


def group_size(rest: str) -> int:
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
