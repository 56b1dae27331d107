"""Kills at random instants: does a run that was killed end as it would have?

python -m benchmarks.torture --kills 30 --json benchmarks/results/torture.json

An undisturbed run is the reference, a second one the control, from which times
are taken too. Further runs are killed with SIGKILL, the whole process group,
some times each, and resumed by the same command. Two kills in three come at an
instant drawn uniformly over an undisturbed run's time, imports included; the
third waits for one of the next saves and comes at an instant within it, every
other time once the checkpoint has its name and before it counts. A kill counts
as identical if the run that it hit ends with the reference's files, byte for
byte, and with the reference's arrays in its newest checkpoint, bit for bit. The
files of a checkpoint are not compared: their layout is Orbax's affair.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
import pathlib
import random
import shutil
import sys
import tempfile
import time
from typing import NamedTuple

import jax

from benchmarks import endings
from benchmarks import kills as kills_lib
from benchmarks import machine
from benchmarks import measurement
from benchmarks import runs as runs_lib
from rlvr_jax import errors

# What makes seconds out of a tiny experiment, and leaves many places to hit.
_SHORTER = {
  "warm_start.num_steps": 200,
  "warm_start.validate_every_steps": 50,
  "warm_start.optimizer.decay_steps": 200,
  "warm_start.target_pass_at_1": 1.0,
  "evaluation.every_steps": 5,
  "evaluation.num_prompts": 32,
  "checkpoint.every_steps": 5,
}


class Tortured(NamedTuple):
  """A run that was killed some times and then left to end."""

  kills: tuple[kills_lib.Kill, ...]
  differences: tuple[str, ...]


def failure(run: kills_lib.Run, status: int) -> list[str]:
  """A sentence for a process that failed."""
  if not status:
    return []
  last = run.log.read_text(errors="replace").splitlines()[-1:]
  return [f"status {status}: {' '.join(last)}"]


def tortured(
  run: kills_lib.Run,
  draws: random.Random,
  done: int,
  most: int,
  usual: kills_lib.Usual,
) -> tuple[list[kills_lib.Kill], int]:
  """Kills a run up to `most` times and lets it end.

  Args:
    run: in an empty folder.
    draws: of the instants.
    done: kills of other runs.
    most: kills of this one.
    usual: of an undisturbed run.

  Returns:
    The kills, fewer if it ended before one, and its status.
  """
  kills = []
  while len(kills) < most:
    when = kills_lib.instant(draws, done + len(kills))
    kill = kills_lib.killed(run, when, usual)
    if kill == 0:
      break
    if isinstance(kill, int):
      return kills, kill
    kills.append(kill)
    print(
      f"{run.folder.parent.name}: kill {done + len(kills)} after"
      f" {kill.secs:.1f} s in {kill.phase}, {kill.lines} lines",
      flush=True,
    )
  # A run that has ended is started once more: that must change nothing.
  status, _ = kills_lib.ended(run)
  return kills, status


def identical(found: Sequence[Tortured]) -> tuple[int, int]:
  """Kills, and those of them whose runs ended as the reference."""
  all_kills = sum(len(run.kills) for run in found)
  same = sum(len(run.kills) for run in found if not run.differences)
  return all_kills, same


def by_phase(found: Sequence[Tortured]) -> dict[str, int]:
  """Kills by the phase that they hit."""
  counts = Counter(kill.phase for run in found for kill in run.kills)
  return dict(sorted(counts.items()))


def verdict(found: Sequence[Tortured]) -> tuple[str, int]:
  """The last line, and the exit status."""
  kills, same = identical(found)
  return f"{kills} kills, {same} identical", int(same != kills)


def torture(
  args: argparse.Namespace, root: pathlib.Path
) -> tuple[list[Tortured], kills_lib.Usual]:
  """The runs that were killed, and times of one that was not.

  Raises:
    RuntimeError: if runs that nobody kills fail or differ.
  """
  overrides = _SHORTER | {"num_steps": args.steps}
  make = lambda name: kills_lib.make_run(
    root / name / "run", args.config, overrides, root / "compiled"
  )
  reference, control = make("reference"), make("control")
  for run in (reference, control):
    status, usual = kills_lib.ended(run)
    if failed := failure(run, status):
      raise RuntimeError(f"an undisturbed run failed with {failed[0]}")
  programs = runs_lib.opened(reference.folder).programs
  state_of = lambda run: jax.device_get(
    runs_lib.newest_state(run.folder, programs)
  )
  expected = state_of(reference)

  def differences(run: kills_lib.Run) -> list[str]:
    files = endings.file_differences(run.folder, reference.folder, args.steps)
    try:
      return files + endings.state_differences(state_of(run), expected)
    except errors.UserError as error:
      return [*files, str(error)]

  if found := differences(control):
    raise RuntimeError(f"two undisturbed runs differ: {'; '.join(found)}")
  print(
    f"an undisturbed run takes {usual.run_secs:.1f} s, a save"
    f" {1000 * usual.save_secs:.0f} ms",
    flush=True,
  )
  draws, ends, done = random.Random(args.seed), [], 0
  while done < args.kills:
    run = make(f"run {len(ends) + 1}")
    most = min(args.kills_per_run, args.kills - done)
    kills, status = tortured(run, draws, done, most, usual)
    found = failure(run, status) or differences(run)
    if status and not kills:
      raise RuntimeError(f"{run.folder} failed before a kill: {found[0]}")
    done += len(kills)
    ends.append(Tortured(tuple(kills), tuple(found)))
    outcome = "; ".join(found) or "identical"
    print(f"{run.folder.parent.name}: {outcome}", flush=True)
    if not found:
      shutil.rmtree(run.folder)
  return ends, usual


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(__doc__)
  flags.add_argument(
    "--config",
    default="experiments/grpo.py:tiny",
    help="file and variant (experiments/grpo.py:tiny)",
  )
  measurement.integer(flags, "--kills", 30, "how many kills")
  measurement.integer(flags, "--kills-per-run", 5, "most kills of a run")
  measurement.integer(flags, "--steps", 60, "RL steps of a run")
  measurement.integer(flags, "--seed", 0, "of the instants", least=0)
  return flags


def main() -> int:
  """Kills, compares and reports; 0 if all kills left no trace."""
  args = arguments().parse_args()
  jax.config.update("jax_platforms", "cpu")
  started = machine.look()
  root = pathlib.Path(tempfile.mkdtemp(prefix="torture-"))
  found, usual = torture(args, root)
  (line, status), (kills, same) = verdict(found), identical(found)
  counts = by_phase(found)
  report = measurement.record(
    args,
    started,
    kills=kills,
    identical=same,
    inside_saves=sum(n for x, n in counts.items() if kills_lib.is_saving(x)),
    by_phase=counts,
    undisturbed=usual._asdict(),
    secs=time.perf_counter() - started.secs,
    runs=[
      {
        "kills": [kill._asdict() for kill in run.kills],
        "differences": run.differences,
      }
      for run in found
    ],
  )
  measurement.append(args.json, report)
  if status:
    print(f"the runs that differ lie in {root}")
  else:
    shutil.rmtree(root)
  print(", ".join(f"{n} in {name}" for name, n in counts.items()))
  print(line)
  return status


if __name__ == "__main__":
  sys.exit(main())
