"""What the compiler says of a step's programs, as tables and as JSON."""

import dataclasses
import json
from typing import Any

from rlvr_jax import summary
from rlvr_jax.sizing import chips
from rlvr_jax.sizing import costs as costs_lib
from rlvr_jax.sizing import hlo_text


@dataclasses.dataclass(frozen=True)
class Plan:
  """What the compiler says of a program, on one device.

  Attributes:
    name: of `Programs`.
    arguments_gib: what it is called with.
    peak_gib: most that a device holds while it runs, with arguments, results
      and what is unread; None where it does not compile for want of memory.
    needed: the compiler's words in that case.
    compile_secs: on this machine.
    costs: of one call; None where the text was not to be had.
    largest: its largest buffers, GiB and types of their arrays.
    unread_gib: of the run's state, beside the arguments.
  """

  name: str
  arguments_gib: float
  peak_gib: float | None
  needed: str = ""
  compile_secs: float = 0.0
  costs: costs_lib.Costs | None = None
  largest: tuple[tuple[float, str], ...] = ()
  unread_gib: float = 0.0


def to_json(x: Plan) -> str:
  """A plan, whole."""
  return json.dumps(dataclasses.asdict(x))


def from_json(text: str) -> Plan:
  """What `to_json` was given."""
  x = json.loads(text)
  costs = x.pop("costs")
  if costs:
    costs["transfers"] = tuple(map(tuple, costs["transfers"]))
    costs = costs_lib.Costs(**costs)
  largest = tuple(map(tuple, x.pop("largest")))
  return Plan(**x, costs=costs, largest=largest)


def table(found: list[Plan], memory_gib: float | None) -> str:
  """The plans, one a line, and the verdict."""
  rows = [["program", "arguments", "peak", "of memory", "compiled in"]]
  for x in found:
    secs = f"{x.compile_secs:.0f} s"
    if x.peak_gib is None:
      rows.append([x.name, "", f"does not fit: {x.needed}", "", secs])
      continue
    share = f"{x.peak_gib / memory_gib:.0%}" if memory_gib else ""
    gib = [f"{y:.2f} GiB" for y in (x.arguments_gib, x.peak_gib)]
    rows.append([x.name, *gib, share, secs])
  return summary.aligned(rows)


def record(x: Plan, chip: chips.Chip | None) -> dict[str, Any]:
  """A plan as JSON, with its largest transfers and what bounds it."""
  sums: dict[tuple[str, str], int] = {}
  for kind, of, times in x.costs.transfers:
    sums[kind, of] = sums.get((kind, of), 0) + times
  ranked = sorted(
    sums.items(), key=lambda y: hlo_text.num_bytes(y[0][1]) * y[1]
  )
  found = dataclasses.asdict(x)
  found["costs"]["transfers"] = [
    f"{kind} of {of}, {times} times" for (kind, of), times in ranked[:-9:-1]
  ]
  if chip:
    found["least_secs"] = chips.least_secs(chip, x.costs)
  return found


def work_table(found: list[Plan], chip: chips.Chip | None) -> str:
  """What each program does on a device, and how fast that could be."""
  rows = [
    ["program", "TFLOP", "products", "transfers", "at best", "of peak at most"]
  ]
  for x in found:
    sent = sum(x.costs.transfer_bytes.values())
    row = [
      x.name,
      f"{x.costs.flops / 1e12:,.1f}",
      f"{x.costs.product_bytes / 1e9:,.0f} GB",
      f"{sent / 1e9:,.1f} GB",
    ]
    if chip:
      secs = chips.least_secs(chip, x.costs)
      bound = max(secs, key=secs.get)
      share = secs["products"] / secs[bound]
      row += [f"{secs[bound]:,.2f} s ({bound})", f"{share:.0%}"]
    rows.append(row + [""] * (len(rows[0]) - len(row)))
  return summary.aligned(rows)


def details(found: list[Plan]) -> str:
  """Transfers by kind, and the largest buffers."""
  lines = []
  for x in found:
    kinds = ", ".join(
      f"{kind} {n / 1e9:,.1f} GB"
      for kind, n in x.costs.transfer_bytes.items()
      if n > 0
    )
    lines.append(f"{x.name} transfers: {kinds or 'nothing'}")
    for gib, types in x.largest:
      lines.append(f"{x.name} holds {gib:.2f} GiB of {types}")
    if x.costs.num_unknown:
      lines.append(
        f"{x.name}: {x.costs.num_unknown} kernels or loops do not tell their"
        " operations, and are not counted"
      )
  return "\n".join(lines)


def fits(found: list[Plan], memory_gib: float | None) -> bool:
  """Whether every program has room."""
  return all(
    x.peak_gib is not None and (not memory_gib or x.peak_gib <= memory_gib)
    for x in found
  )
