"""What the sampler's slots, shared prompts and draw cost and save.

python -m benchmarks.decode --size S --json benchmarks/results/decode.json

The parts are those of `decoding`. Kinds take turns in one process; times are
medians, quartiles are in the JSON.
"""

import argparse
import dataclasses
import functools

import jax

from benchmarks import machine
from benchmarks import measurement
from benchmarks import workload
from benchmarks.decoding import draw
from benchmarks.decoding import prefix
from benchmarks.decoding import slots
from benchmarks.sides import side

_PARTS = ("slots", "prefix", "draw")


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, rounds=7, file="benchmarks/results/decode.json", dtype=True
  )
  number = functools.partial(measurement.integer, flags)
  sizes = list(workload.SIZES)
  flags.add_argument("--size", choices=sizes, default="S")
  flags.add_argument(
    "--parts",
    nargs="+",
    choices=_PARTS,
    default=list(_PARTS),
    help="what is measured (all)",
  )
  number("--samples", 8, "completions of a prompt")
  number("--prompts", 64, "slots: prompts")
  number("--prompt-tokens", 32, "slots: longest prompt")
  number("--completion-tokens", 64, "slots: longest completion")
  flags.add_argument(
    "--slots",
    type=int,
    nargs="+",
    default=[256, 128, 64, 32],
    help="slots: widths beside all at once (256 128 64 32)",
  )
  number("--prefix-prompts", 2, "prefix: prompts")
  number("--prefix-prompt-tokens", 1024, "prefix: longest prompt")
  number("--prefix-completion-tokens", 32, "prefix: completion")
  flags.add_argument(
    "--draw-sizes",
    nargs="+",
    choices=sizes,
    default=["M", "L"],
    help="draw: whose vocabularies and widths (M L)",
  )
  number("--draw-layers", 12, "draw: most layers of a model; others are added")
  number("--draw-rows", 64, "draw: rows of a step")
  number("--draw-capacity", 128, "draw: cached tokens of a row")
  number("--draw-steps", 4, "draw: steps of a call")
  return flags


def require_widths(args: argparse.Namespace) -> None:
  """Ends the program where batches of a width would not be whole."""
  sequences = args.prompts * args.samples
  for width in args.slots:
    if width < 1 or width % args.samples or sequences % width:
      raise SystemExit(
        f"--slots has {width}: name divisors of the {sequences} completions"
        f" that are multiples of --samples ({args.samples})"
      )


def main() -> None:
  """Measures and reports."""
  args = arguments().parse_args()
  require_widths(args)
  size = dataclasses.replace(
    workload.SIZES[args.size], samples=args.samples, micro_batches=1
  )
  dtype = side.dtype_of(args, jax.default_backend() == "cpu")
  started, results = machine.look(), {}
  if "slots" in args.parts:
    varied = dataclasses.replace(
      size,
      prompts=args.prompts,
      prompt_tokens=args.prompt_tokens,
      completion_tokens=args.completion_tokens,
    )
    results["slots"] = slots.results(varied, dtype, args.slots, args.rounds)
    print(slots.table(results["slots"]), end="\n\n", flush=True)
  if "prefix" in args.parts:
    long = dataclasses.replace(
      size,
      prompts=args.prefix_prompts,
      prompt_tokens=args.prefix_prompt_tokens,
      completion_tokens=args.prefix_completion_tokens,
    )
    results["prefix"] = prefix.results(long, dtype, args.rounds)
    print(prefix.table(results["prefix"]), end="\n\n", flush=True)
  if "draw" in args.parts:
    results["draw"] = [
      draw.results(
        workload.SIZES[name],
        dtype,
        layers=args.draw_layers,
        rows=args.draw_rows,
        capacity=args.draw_capacity,
        steps=args.draw_steps,
        rounds=args.rounds,
      )
      for name in args.draw_sizes
    ]
    print(draw.table(results["draw"]))
  report = measurement.record(args, started, dtype=dtype, **results)
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
