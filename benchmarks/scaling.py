"""How the time of sampling and of an update grows with each size.

python -m benchmarks.scaling --json benchmarks/results/scaling.json

One size at a time is doubled again and again: prompts of a batch, longest
completion, vocabulary, width (with heads and MLP in proportion). The slope of
seconds over the size, both as logarithms, is compared with the slope of `flops`
over the same sizes. A measured slope may lie below: what does not grow is
spread over more. One that lies clearly above is told: it has no such reason.
All sizes take turns in one process; times are medians.
"""

import argparse
from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from benchmarks import flops
from benchmarks import machine
from benchmarks import measurement
from benchmarks import workload
from benchmarks.sides import ours
from benchmarks.sides import side

# What a measured exponent may exceed the counted one by.
TOLERANCE = 0.15
_HEAD_DIM = 32
_PARTS = ("generate", "update")


def base_size(args: argparse.Namespace) -> workload.Size:
  """The smallest size of all."""
  size = workload.Size(
    name="base",
    layers=args.layers,
    width=args.width,
    heads=0,
    kv_heads=0,
    head_dim=_HEAD_DIM,
    ffn=0,
    vocab=args.vocab,
    prompts=args.prompts,
    samples=args.samples,
    prompt_tokens=args.prompt_tokens,
    completion_tokens=args.completion_tokens,
    micro_batches=1,
  )
  return _with_width(size, args.width)


def _with_width(size: workload.Size, width: int) -> workload.Size:
  heads = width // _HEAD_DIM
  return dataclasses.replace(
    size, width=width, heads=heads, kv_heads=heads // 2, ffn=3 * width
  )


def axes(
  base: workload.Size, number: int
) -> dict[str, dict[int, workload.Size]]:
  """Sizes by what is varied and by its value; each begins with the base."""
  doubled = lambda x: [x * 2**i for i in range(number)]
  found = {
    name: {
      value: dataclasses.replace(base, **{name: value})
      for value in doubled(getattr(base, name))
    }
    for name in ("prompts", "completion_tokens", "vocab")
  }
  found["width"] = {x: _with_width(base, x) for x in doubled(base.width)}
  return found


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
  """The power of the value that the cost grows with: a least-squares fit."""
  return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def is_steep(measured: float, counted: float) -> bool:
  """Whether time grows clearly faster than arithmetic."""
  return measured > counted + TOLERANCE


def growth(
  values: Sequence[float], secs: Sequence[float], operations: Sequence[float]
) -> dict[str, Any]:
  """Exponents over all sizes and over the last three."""
  fits = {
    "exponent": exponent(values, secs),
    "counted_exponent": exponent(values, operations),
    "last_exponent": exponent(values[-3:], secs[-3:]),
    "last_counted_exponent": exponent(values[-3:], operations[-3:]),
  }
  steep = is_steep(fits["exponent"], fits["counted_exponent"]) or is_steep(
    fits["last_exponent"], fits["last_counted_exponent"]
  )
  return fits | {"is_steep": steep}


def programs(size: workload.Size, dtype: str) -> dict[str, Callable[[], Any]]:
  """Sampling and updating at one size."""
  experiment = ours.experiment(size, dtype)
  compiled = ours.programs(size, experiment)
  state = ours.fresh_state(experiment)
  prompts, step = ours.prompt_batch(size, 0), np.int32(0)
  rollouts, _ = compiled.judge(compiled.sample(state.params, step, prompts))
  # The step takes the state's memory and gives the next one.
  held = [state]

  def generate():
    return compiled.sample(held[0].params, step, prompts)

  def update():
    held[0], metrics = compiled.train_step(held[0], rollouts)
    return held[0].step, metrics

  return {"generate": generate, "update": update}


def measure(
  sizes: dict[str, dict[int, workload.Size]], dtype: str, rounds: int
) -> dict[str, Any]:
  """Seconds, rates and exponents, by what is varied and by part of a step."""
  # Every axis begins with the base, which is timed once.
  distinct = dict.fromkeys(x for axis in sizes.values() for x in axis.values())
  kinds = {
    (size, part): run
    for size in distinct
    for part, run in programs(size, dtype).items()
  }
  secs = {
    kind: float(np.median(x))
    for kind, x in measurement.interleaved(kinds, rounds).items()
  }
  found = {}
  for name, axis in sizes.items():
    values, found[name] = list(axis), {}
    for part in _PARTS:
      of_axis = [secs[size, part] for size in axis.values()]
      operations = [flops.step_flops(size)[part] for size in axis.values()]
      found[name][part] = {
        "values": values,
        "secs": of_axis,
        "flops": operations,
        "tokens_per_sec": [
          size.generated_tokens / x
          for size, x in zip(axis.values(), of_axis, strict=True)
        ],
        **growth(values, of_axis, operations),
      }
  return found


def table(found: dict[str, Any]) -> str:
  """Times, rates and exponents, three lines for each part of each axis."""
  lines = ["exponents are of seconds (of counted FLOPs), * of the last three"]
  for name, parts in found.items():
    for part, x in parts.items():
      cells = lambda values, form: "".join(f" {v:>10{form}}" for v in values)
      lines += [
        f"{part + ' by ' + name:<30}{cells(x['values'], 'd')}",
        f"{'ms':>30}{cells([1e3 * y for y in x['secs']], '.2f')}",
        f"{'tokens/s':>30}{cells(x['tokens_per_sec'], ',.0f')}",
        f"{'exponent':>30} {x['exponent']:>10.2f}"
        f" ({x['counted_exponent']:.2f}) {x['last_exponent']:.2f}*"
        f" ({x['last_counted_exponent']:.2f}*)"
        + ("  STEEPER THAN ARITHMETIC" if x["is_steep"] else ""),
      ]
  return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, rounds=9, file="benchmarks/results/scaling.json", dtype=True
  )
  number = functools.partial(measurement.integer, flags)
  # Fewer have no slope.
  number("--values", 4, "of each size", least=2)
  number("--layers", 1, "of every model")
  number("--width", 64, "smallest; a multiple of 64")
  # From here on tokens are gathered: below 257 they are multiplied.
  number("--vocab", 512, "smallest")
  number("--prompts", 16, "fewest of a batch")
  number("--samples", 8, "completions of a prompt")
  number("--prompt-tokens", 16, "longest prompt")
  number("--completion-tokens", 16, "shortest completion")
  return flags


def main() -> None:
  """Measures and reports."""
  args = arguments().parse_args()
  if args.width % (2 * _HEAD_DIM):
    raise SystemExit(
      f"--width is {args.width}: choose a multiple of {2 * _HEAD_DIM}"
    )
  dtype = side.dtype_of(args, jax.default_backend() == "cpu")
  started = machine.look()
  base = base_size(args)
  found = measure(axes(base, args.values), dtype, args.rounds)
  print(table(found))
  report = measurement.record(
    args, started, dtype=dtype, base=dataclasses.asdict(base), results=found
  )
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
