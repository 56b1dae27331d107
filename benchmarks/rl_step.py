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

import json
import os
import pathlib
import time

from absl import app
from absl import flags

from benchmarks import flops
from benchmarks import machine
from benchmarks import processes
from benchmarks import rl_report
from benchmarks import same
from benchmarks import workload

# Of their own: other programs name theirs alike, and tests import both.
_FLAGS = flags.FlagValues()
_SIZE = flags.DEFINE_enum(
  "size", "S", list(workload.SIZES), "Of the workload.", flag_values=_FLAGS
)
_PEERS = flags.DEFINE_list(
  "peers",
  ["trl", "tunix", "torch", "generate"],
  "Sides beside ours.",
  flag_values=_FLAGS,
)
_STEPS = flags.DEFINE_integer(
  "steps", 8, "Steps of a run.", lower_bound=1, flag_values=_FLAGS
)
_ROUNDS = flags.DEFINE_integer(
  "rounds", 3, "Runs of a side.", lower_bound=1, flag_values=_FLAGS
)
_ENVIRONMENTS = flags.DEFINE_string(
  "environments", "", "Folder of benchmarks.peers.", flag_values=_FLAGS
)
_MICRO_BATCHES = flags.DEFINE_integer(
  "micro_batches",
  None,
  "Passes of an update; left out: the size's own.",
  flag_values=_FLAGS,
)
_OUR_MICRO_BATCHES = flags.DEFINE_integer(
  "our_micro_batches",
  None,
  "Passes of our update alone: on a CPU the activations of few rows stay in"
  " its caches. Left out: as all.",
  flag_values=_FLAGS,
)
_DTYPE = flags.DEFINE_enum(
  "dtype",
  "auto",
  ("auto", "float32", "bfloat16"),
  "What sides compute in.",
  flag_values=_FLAGS,
)
_WAIT = flags.DEFINE_float(
  "wait_secs",
  600.0,
  "Longest wait for an idle machine before each run.",
  flag_values=_FLAGS,
)
_SAME = flags.DEFINE_bool(
  "same", True, "Compare the sides' numbers first.", flag_values=_FLAGS
)
_FOLDER = flags.DEFINE_string(
  "folder",
  "runs/rl_step",
  "Where each run's report and log lie.",
  flag_values=_FLAGS,
)
_NOTE = flags.DEFINE_string("note", "", "Kept in the JSON.", flag_values=_FLAGS)
_JSON = flags.DEFINE_string(
  "json",
  "benchmarks/results/rl_step.json",
  "List that the result joins.",
  flag_values=_FLAGS,
)


def run_rounds(
  names: list[str], arguments: list[str], folder: pathlib.Path
) -> tuple[dict[str, list[dict]], dict[str, str]]:
  """All sides, round by round.

  Returns:
    Reports by side, and why a side failed; it is not tried again.
  """
  reports, failed = {name: [] for name in names}, {}
  environments = pathlib.Path(_ENVIRONMENTS.value)
  for number in range(_ROUNDS.value):
    for name in names if number % 2 == 0 else reversed(names):
      if name in failed:
        continue
      load = machine.wait_until_idle(_WAIT.value)
      if sentence := machine.warning(load):
        print(f"before {name}: {sentence}", flush=True)
      own = []
      if name == "ours" and _OUR_MICRO_BATCHES.value:
        own = [f"--micro-batches={_OUR_MICRO_BATCHES.value}"]
      try:
        report = processes.report(
          processes.SIDES[name],
          [*arguments, *own],
          environments,
          folder / f"{name}_{number}.json",
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


def append(path: pathlib.Path, record: dict) -> None:
  """Adds a record to a file that holds a list of them."""
  held = json.loads(path.read_text()) if path.exists() else []
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_suffix(".part")
  part.write_text(json.dumps([*held, record], indent=1) + "\n")
  os.replace(part, path)


def require(names: list[str]) -> None:
  """Ends the program with a sentence for what is not there."""
  for name in names:
    if name not in processes.SIDES:
      raise SystemExit(
        f"--peers names {name!r}: choose among"
        f" {', '.join(x for x in processes.SIDES if x != 'ours')}"
      )
  if len(names) > 1 and not _ENVIRONMENTS.value:
    raise SystemExit(
      "--environments is missing: give the folder of `python -m"
      " benchmarks.peers FOLDER`"
    )
  folder = pathlib.Path(_ENVIRONMENTS.value)
  if sentences := processes.missing(names, folder):
    raise SystemExit("\n".join(sentences))


def compared(names: list[str]) -> dict:
  """Differences of the sides' numbers; ends the program where they disagree."""
  if not _SAME.value or len(names) < 2:
    return {}
  if processes.missing(["trl"], pathlib.Path(_ENVIRONMENTS.value)):
    print("not compared: the numbers to compare with are the trl environment's")
    return {}
  found = same.differences(pathlib.Path(_ENVIRONMENTS.value), "S", names)
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


def main(argv):
  """Compares, times and reports."""
  del argv
  names = list(dict.fromkeys(["ours", *_PEERS.value]))
  require(names)
  try:
    size = workload.with_micro_batches(
      workload.SIZES[_SIZE.value], _MICRO_BATCHES.value
    )
  except ValueError as error:
    raise SystemExit(str(error)) from error
  arguments = [
    f"--size={size.name}",
    f"--steps={_STEPS.value}",
    f"--micro-batches={size.micro_batches}",
    f"--dtype={_DTYPE.value}",
  ]
  differences = compared(names)
  folder = pathlib.Path(_FOLDER.value)
  folder.mkdir(parents=True, exist_ok=True)
  reports, failed = run_rounds(names, arguments, folder)
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
    f" {ours['micro_batches']}, rounds: {_ROUNDS.value}, steps of"
    f" each: {_STEPS.value}. Seconds are medians [quartiles].\n"
  )
  print(rl_report.table(sides))
  print(
    f"\nA step is {operations['step'] / 1e9:,.1f} GFLOP, its update"
    f" {operations['update'] / 1e9:,.1f}; matrix products reach"
    f" {peak / 1e9:,.0f} GFLOP/s on this machine."
  )
  print(*doubts, sep="\n")
  append(
    pathlib.Path(_JSON.value),
    {
      "date": time.strftime("%Y-%m-%d"),
      "size": size.name,
      "steps": _STEPS.value,
      "rounds": _ROUNDS.value,
      "micro_batches": size.micro_batches,
      "our_micro_batches": ours["micro_batches"],
      "device": ours["device"],
      "machine": machine.description(),
      "same": differences,
      "flops": operations,
      "matmul_flops_per_s": peak,
      "sides": sides,
      "failed": failed,
      "doubts": doubts,
      "note": _NOTE.value,
    },
  )
  if failed:
    raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
  app.run(
    main,
    flags_parser=lambda argv: flags.FLAGS(_FLAGS(argv, known_only=True)),
  )
