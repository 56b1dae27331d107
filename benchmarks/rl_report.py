"""From the sides' JSON reports to one table: medians, spreads, ratios."""

from collections.abc import Mapping, Sequence
import math
import statistics

from benchmarks import flops
from benchmarks import machine
from benchmarks import tables
from benchmarks import workload
from benchmarks.sides import side
from rlvr_jax import summary as summary_lib

PARTS = ("generate", "update", "step")


def parts_of(report: dict) -> list[str]:
  """What a side does; a step is only one that has both of its parts."""
  secs = report["seconds"]
  whole = {"generate", "update"} <= secs.keys()
  return [x for x in PARTS if x in secs and (whole or x != "step")]


def pooled(reports: Sequence[dict], part: str) -> list[float]:
  """Seconds of all steps of all rounds, warm-up left out."""
  secs = [side.after_warm_up(x["all_seconds"][part]) for x in reports]
  return [value for round_secs in secs for value in round_secs]


def summary(
  reports: Mapping[str, Sequence[dict]], size: workload.Size
) -> dict[str, dict]:
  """What the table shows of each side.

  Args:
    reports: of the rounds, by side; "ours" is what others are divided by.
    size: of the workload.
  """
  ours = reports["ours"]
  base = {x: statistics.median(pooled(ours, x)) for x in PARTS}
  peak = max(x["matmul_flops_per_s"] for x in ours)
  operations = flops.step_flops(size)
  found = {}
  for name, rounds in reports.items():
    secs = {x: tables.quartiles(pooled(rounds, x)) for x in parts_of(rounds[0])}
    middle = {part: x[1] for part, x in secs.items()}
    rate = lambda part, middle=middle: (
      size.generated_tokens / middle[part] if part in middle else None
    )
    of_all = lambda key, rounds=rounds: [x[key] for x in rounds]
    loads = [x["machine"]["other_load_cpus"] for x in rounds]
    found[name] = {
      "parameters": rounds[0]["parameters"],
      "dtype": rounds[0]["dtype"],
      "rounds": len(rounds),
      "seconds": secs,
      "against_ours": {part: x / base[part] for part, x in middle.items()},
      "share_of_peak": {
        part: operations[part] / x / peak for part, x in middle.items()
      },
      "tokens_per_s_generate": rate("generate"),
      "tokens_per_s_step": rate("step"),
      "first_step_s": statistics.median(of_all("first_step_s")),
      "peak_rss_mib": max(of_all("peak_rss_mib")),
      "peak_device_mib": max(
        (x for x in of_all("peak_device_mib") if x), default=None
      ),
      "other_load_cpus": max((x for x in loads if x is not None), default=None),
      "versions": rounds[0]["versions"],
      "all_seconds": of_all("all_seconds"),
    }
  return found


def table(sides: Mapping[str, dict]) -> str:
  """The summary as Markdown."""
  head = ["side"]
  for part in PARTS:
    head += [f"{part} s", "× ours"]
  head += ["tokens/s generate", "tokens/s step", "first step s"]
  head += ["peak RSS MiB", "peak device MiB", "share of peak, update"]
  head += ["share of peak, step", "other load"]
  rows = []
  shown = lambda value, form: "" if value is None else format(value, form)
  for name, found in sides.items():
    cells = [name]
    for part in PARTS:
      low, middle, high = found["seconds"].get(part, (None,) * 3)
      spread = "" if middle is None else f" [{low:.3f}, {high:.3f}]"
      cells.append(shown(middle, ".3f") + spread)
      cells.append(shown(found["against_ours"].get(part), ".2f"))
    cells += [
      shown(found["tokens_per_s_generate"], ",.0f"),
      shown(found["tokens_per_s_step"], ",.0f"),
      shown(found["first_step_s"], ".1f"),
      shown(found["peak_rss_mib"], ",.0f"),
      shown(found["peak_device_mib"], ",.0f"),
      shown(found["share_of_peak"].get("update"), ".1%"),
      shown(found["share_of_peak"].get("step"), ".1%"),
      shown(found["other_load_cpus"], ".2f"),
    ]
    rows.append(cells)
  return summary_lib.markdown(head, rows)


def doubts(
  reports: Mapping[str, Sequence[dict]], size: workload.Size
) -> list[str]:
  """A sentence for each thing that makes the numbers no comparison."""
  found = []
  for name, rounds in reports.items():
    for number, report in enumerate(rounds):
      where = f"{name}, round {number + 1}: "
      found += [where + sentence for sentence in _doubts_of(report, size)]
  return found


def _doubts_of(report: dict, size: workload.Size) -> list[str]:
  checks, found = report["checks"], []
  if report["parameters"] != size.parameters:
    found.append(
      f"{report['parameters']:,} parameters, where size {size.name} has"
      f" {size.parameters:,}"
    )
  if checks.get("completion_tokens", [size.completion_tokens]) != [
    size.completion_tokens
  ]:
    found.append(
      f"completions of {checks['completion_tokens']} tokens, where all should"
      f" have {size.completion_tokens}"
    )
  for name in ("loss", "grad_norm"):
    if not all(math.isfinite(x) for x in checks.get(name, [])):
      found.append(f"{name} is not finite: {checks[name]}")
  if not checks.get("weights_moved", True):
    found.append("the weights did not move")
  if checks.get("updates", report["steps"]) != report["steps"]:
    found.append(f"{checks['updates']} updates in {report['steps']} steps")
  load = report["machine"]["other_load_cpus"]
  if sentence := machine.warning(load):
    found.append(sentence)
  return found
