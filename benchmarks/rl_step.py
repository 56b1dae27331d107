"""One GRPO step beside the peers': sampling, update, and both.

python -m benchmarks.peers DIR
python -m benchmarks.rl_step --size S --peers=trl,tunix,torch,generate \
    --steps 8 --rounds 3 --environments DIR

Equal: architecture, parameters, prompts, lengths, reward, loss, optimizer,
type, passes of an update (`workload`), and what is computed of given weights
and rollouts (`same`). Not equal, since it is how each is made: TRL and the
PyTorch step read a prompt once for each of its samples; TRL, Tunix and ours
measure entropy; TRL forms logits of prompts too on a CPU, Tunix everywhere;
Tunix and TRL turn tokens into text for the reward, ours judges tokens; on an
accelerator our parameters stay float32 under bfloat16 activations.

Sides run one at a time, in turn, each round in the other order, and wait for
an idle machine. Medians are over the steps of all rounds without each run's
first two; first steps compile, from no cache. The peak is that of plain matrix
products in the process of ours, and `flops` says what it is divided into.
"""

import argparse
import functools
import pathlib

from benchmarks import flops
from benchmarks import machine
from benchmarks import measurement
from benchmarks import processes
from benchmarks import rl_report
from benchmarks import same
from benchmarks import workload
from benchmarks.sides import side


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(
    __doc__, rounds=3, file="benchmarks/results/rl_step.json", dtype=True
  )
  number = functools.partial(measurement.integer, flags)
  flags.add_argument("--size", choices=list(workload.SIZES), default="S")
  flags.add_argument(
    "--peers",
    type=lambda names: names.split(",") if names else [],
    default=["trl", "tunix", "torch", "generate"],
    help="sides beside ours (trl,tunix,torch,generate)",
  )
  number("--steps", 8, "steps of a run")
  flags.add_argument(
    "--environments",
    type=pathlib.Path,
    help="folder of benchmarks.peers",
  )
  number(
    "--micro-batches",
    None,
    "passes of an update; left out: the size's own",
  )
  number(
    "--our-micro-batches",
    None,
    "passes of our update alone: on a CPU the activations of few rows stay in"
    " its caches; left out: as all",
  )
  flags.add_argument(
    "--wait-secs",
    type=float,
    default=600.0,
    help="longest wait for an idle machine before each run (600)",
  )
  flags.add_argument(
    "--same",
    action=argparse.BooleanOptionalAction,
    default=True,
    help="compare the sides' numbers first",
  )
  flags.add_argument(
    "--folder",
    type=pathlib.Path,
    default=pathlib.Path("runs/rl_step"),
    help="where each run's report and log lie (runs/rl_step)",
  )
  flags.add_argument("--note", default="", help="kept in the JSON")
  return flags


def commands(
  args: argparse.Namespace, size: workload.Size, names: list[str]
) -> dict[str, list[str]]:
  """Arguments of each side's process."""
  given = [f"--size={size.name}", f"--steps={args.steps}"]
  given.append(f"--dtype={args.dtype}")
  passes = dict.fromkeys(names, size.micro_batches)
  passes["ours"] = args.our_micro_batches or size.micro_batches
  return {name: [*given, f"--micro-batches={passes[name]}"] for name in names}


def run_rounds(
  args: argparse.Namespace, sides: dict[str, list[str]]
) -> tuple[dict[str, list[dict]], dict[str, str]]:
  """All sides, round by round.

  Args:
    args: of `arguments`.
    sides: of `commands`.

  Returns:
    Reports by side, and why a side failed; it is not tried again.
  """
  reports, failed = {name: [] for name in sides}, {}
  orders = measurement.orders(list(sides), args.rounds)
  for number, names in enumerate(orders):
    for name in names:
      if name in failed:
        continue
      load = machine.wait_until_idle(args.wait_secs)
      if sentence := machine.warning(load):
        print(f"before {name}: {sentence}", flush=True)
      try:
        report = processes.report(
          processes.SIDES[name],
          sides[name],
          args.environments,
          args.folder / f"{name}_{number}.json",
        )
      except RuntimeError as error:
        failed[name] = str(error)
        print(error, flush=True)
        continue
      reports[name].append(report)
      secs = report["seconds"]
      told = ", ".join(
        f"{x} {secs[x]:.3f} s" for x in rl_report.parts_of(report)
      )
      print(f"round {number + 1}, {name}: {told}", flush=True)
  return {name: x for name, x in reports.items() if x}, failed


def require(names: list[str], environments: pathlib.Path | None) -> None:
  """Ends the program with a sentence for what is not there."""
  for name in names:
    if name not in processes.SIDES:
      raise SystemExit(
        f"--peers names {name!r}: choose among"
        f" {', '.join(x for x in processes.SIDES if x != 'ours')}"
      )
  if len(names) == 1:
    return
  if not environments:
    raise SystemExit(
      "--environments is missing: give the folder of `python -m"
      " benchmarks.peers FOLDER`"
    )
  if sentences := processes.missing(names, environments):
    raise SystemExit("\n".join(sentences))


def compared(names: list[str], environments: pathlib.Path) -> dict:
  """Differences of the sides' numbers; ends the program where they disagree."""
  if processes.missing(["trl"], environments):
    print("not compared: the numbers to compare with are the trl environment's")
    return {}
  found = same.differences(environments, "S", names)
  for name, x in found.items():
    print(
      f"{name} against PyTorch: log-probabilities within {x['logprobs']:.1e},"
      f" gradient within {x['gradient']:.1e} of its norm, each of"
      f" {x['tensors']} tensors within {x['worst_tensor']:.1e}",
      flush=True,
    )
  if sentences := same.disagreements(found):
    raise SystemExit("\n".join(sentences))
  return found


def main() -> None:
  """Compares, times and reports."""
  args = arguments().parse_args()
  names = list(dict.fromkeys(["ours", *args.peers]))
  require(names, args.environments)
  size = side.size_of(args)
  differences = {}
  if args.same and len(names) > 1:
    differences = compared(names, args.environments)
  args.folder.mkdir(parents=True, exist_ok=True)
  reports, failed = run_rounds(args, commands(args, size, names))
  if "ours" not in reports:
    raise SystemExit("ours failed: there is nothing to compare with")
  ours = reports["ours"][0]
  sides = rl_report.summary(reports, size)
  peak = max(x["matmul_flops_per_s"] for x in reports["ours"])
  operations = flops.step_flops(size)
  doubts = rl_report.doubts(reports, size)
  print(
    f"\nSize {size.name}: {size.parameters:,} parameters, {size.sequences}"
    f" sequences of {size.prompt_tokens} + {size.completion_tokens} tokens."
    f" Passes of an update: {size.micro_batches}, ours:"
    f" {ours['micro_batches']}, rounds: {args.rounds}, steps of"
    f" each: {args.steps}. Seconds are medians [quartiles].\n"
  )
  print(rl_report.table(sides))
  print(
    f"\nA step is {operations['step'] / 1e9:,.1f} GFLOP, its update"
    f" {operations['update'] / 1e9:,.1f}; matrix products reach"
    f" {peak / 1e9:,.0f} GFLOP/s on this machine."
  )
  print(*doubts, sep="\n")
  # Load and versions are the sides' own, told by each of them.
  measurement.append(
    args.json,
    {
      **measurement.occasion(ours["device"]),
      "size": size.name,
      "steps": args.steps,
      "rounds": args.rounds,
      "micro_batches": size.micro_batches,
      "our_micro_batches": ours["micro_batches"],
      "same": differences,
      "flops": operations,
      "matmul_flops_per_s": peak,
      "sides": sides,
      "failed": failed,
      "doubts": doubts,
      "note": args.note,
    },
  )
  if failed:
    raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
  main()
