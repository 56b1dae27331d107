"""The teacher's pass beside a training pass, with and without gathering.

python -m benchmarks.teacher_cost --json benchmarks/results/teacher_cost.json

One batch, one process, taking turns: the update of RLRT, the teacher's pass
over all rows, and over rows with a teacher alone, gathered into passes of 32.
The share of rows with a teacher is set, from a quarter to all. The prompt of a
teacher is longer than the student's, and each row has one of its own.
"""

import argparse
import functools
import json
import pathlib
import tempfile
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks import measurement
from benchmarks import runs
from benchmarks import tables
from experiments import rlrt

_ROWS_PER_PASS = 32
_SHARES = (0.25, 0.5, 0.75, 1.0)


def prepared(
  variant: str, rows_per_pass: int, folder: pathlib.Path
) -> runs.Opened:
  """A run of RLRT."""
  config = rlrt.get_config(variant)
  config.teacher.rows_per_pass = rows_per_pass
  return runs.prepared(config.to_dict(), folder, ("gold_answer",))


def with_teacher(rollouts, share: float):
  """Rollouts of which a share of rows have a right sibling.

  Groups of eight, right as a whole or wrong as a whole: all rows of a right
  one have a teacher.
  """
  groups = np.asarray(rollouts.group_ids)
  number = round(share * (groups.max() + 1))
  # Spread over the batch, so that gathering has something to gather.
  chosen = np.linspace(0, groups.max(), number).round().astype(int)
  right = jnp.asarray(np.isin(groups, chosen), jnp.float32)
  return rollouts.replace(is_correct=right, rewards=right)


def measure(variant: str, rounds: int) -> dict[str, Any]:
  """Seconds of each kind, and shares of the update."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    experiment, _, whole = prepared(variant, 0, folder)
    gathered = prepared(variant, _ROWS_PER_PASS, folder).programs
  run = experiment.run
  state = whole.train.adopt(whole.warm_start.fresh().params, jnp.zeros(()))
  plan, _, _ = whole.plan(
    state, whole.task.train.prompts, None, jnp.zeros((), jnp.int32)
  )
  rollouts, _ = whole.collect(
    state.params, state.seed, state.step, plan.prompts
  )
  batches = {share: with_teacher(rollouts, share) for share in _SHARES}
  taught = whole.teach(state, batches[1.0])[0]

  def update() -> float:
    # The step takes the state's memory: it is given a copy.
    copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
    return measurement.secs_of(lambda: whole.train_step(copy, taught, None))

  def teach(programs, share: float) -> float:
    return measurement.secs_of(lambda: programs.teach(state, batches[share]))

  kinds = {"update": update}
  for share in _SHARES:
    kinds[f"all_rows_{share}"] = functools.partial(teach, whole, share)
    kinds[f"gathered_{share}"] = functools.partial(teach, gathered, share)
  secs = measurement.in_turn(kinds, rounds)
  return {
    "rows": int(rollouts.valid.shape[0]),
    "prompt_tokens": run.data.prompt_tokens,
    "teacher_prompt_tokens": run.teacher.prompt_tokens,
    "completion_tokens": run.rollout.completion_tokens,
    "rows_per_pass": _ROWS_PER_PASS,
    "secs": {kind: float(np.median(x)) for kind, x in secs.items()},
    "share_of_update": {
      kind: tables.quartiles(x / secs["update"])
      for kind, x in secs.items()
      if kind != "update"
    },
  }


def arguments() -> argparse.ArgumentParser:
  """Flags of the program."""
  flags = measurement.parser(__doc__, rounds=40)
  flags.add_argument(
    "--variant", default="tiny_mixed", help="of the task (tiny_mixed)"
  )
  return flags


def main() -> None:
  """Times and reports."""
  args = arguments().parse_args()
  logging.set_verbosity(logging.ERROR)
  started = machine.look()
  found = measure(args.variant, args.rounds)
  report = measurement.record(args, started, **found)
  print(json.dumps(report, indent=1))
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
