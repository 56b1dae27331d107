"""The teacher's pass beside a training pass, with and without gathering.

python -m benchmarks.teacher_cost --out=benchmarks/results/teacher_cost.json

One batch, one process, taking turns: the update of RLRT, the teacher's pass
over all rows, and over rows with a teacher alone, gathered into passes of 32.
The share of rows with a teacher is set, from a quarter to all. The prompt of a
teacher is longer than the student's, and each row has one of its own.
"""

import json
import os
import pathlib
import platform
import tempfile
import time

from absl import app
from absl import flags
from absl import logging
import jax
import jax.numpy as jnp
import numpy as np

from experiments import rlrt
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import programs as programs_lib
from rlvr_jax import sharding
from rlvr_jax.data import tasks

_ROUNDS = flags.DEFINE_integer("rounds", 40, "Passes of each kind.")
_VARIANT = flags.DEFINE_string("variant", "tiny_mixed", "Task.")
_OUT = flags.DEFINE_string("out", "", "Where the JSON goes; empty: nowhere.")
_WARM_UP = 3
_ROWS_PER_PASS = 32
_SHARES = (0.25, 0.5, 0.75, 1.0)


def programs(rows_per_pass: int, folder: pathlib.Path):
  """Programs of RLRT, and the run they belong to."""
  config = rlrt.get_config(_VARIANT.value)
  config.teacher.rows_per_pass = rows_per_pass
  experiment = experiment_lib.load(config.to_dict())
  run = experiment.run
  task = tasks.load_task(
    run.data,
    run.rollout.completion_tokens,
    folder,
    ("gold_answer",),
  )
  mesh = sharding.make_mesh(run.mesh)
  return run, programs_lib.make_programs(experiment, task, mesh)


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


def main(argv):
  """Times and reports."""
  del argv
  logging.set_verbosity(logging.ERROR)
  with tempfile.TemporaryDirectory() as name:
    run, whole = programs(0, pathlib.Path(name))
    _, gathered = programs(_ROWS_PER_PASS, pathlib.Path(name))
  state = whole.train.adopt(whole.warm_start.fresh().params, jnp.zeros(()))
  plan, _, _ = whole.plan(
    state, whole.task.train.prompts, None, jnp.zeros((), jnp.int32)
  )
  rollouts, _ = whole.collect(
    state.params, state.seed, state.step, plan.prompts
  )
  batches = {share: with_teacher(rollouts, share) for share in _SHARES}
  taught = whole.teach(state, batches[1.0])[0]

  def update():
    # The step takes the state's memory: it is given a copy.
    copy = jax.tree.map(jnp.copy, state)
    jax.block_until_ready(copy)
    started = time.perf_counter()
    jax.block_until_ready(whole.train_step(copy, taught, None))
    return time.perf_counter() - started

  def teach(teach_function, share):
    started = time.perf_counter()
    jax.block_until_ready(teach_function(state, batches[share]))
    return time.perf_counter() - started

  kinds = {"update": update}
  for share in _SHARES:
    kinds[f"all_rows_{share}"] = lambda x=share: teach(whole.teach, x)
    kinds[f"gathered_{share}"] = lambda x=share: teach(gathered.teach, x)
  secs = {kind: [] for kind in kinds}
  for _ in range(_ROUNDS.value + _WARM_UP):
    for kind, timed in kinds.items():
      secs[kind].append(timed())
  secs = {kind: np.array(x[_WARM_UP:]) for kind, x in secs.items()}
  report = {
    "date": time.strftime("%Y-%m-%d"),
    "device": jax.devices()[0].device_kind,
    "cpus": os.cpu_count(),
    "load_average": os.getloadavg()[0],
    "python": platform.python_version(),
    "jax": jax.__version__,
    "variant": _VARIANT.value,
    "rows": int(rollouts.valid.shape[0]),
    "prompt_tokens": run.data.prompt_tokens,
    "teacher_prompt_tokens": run.teacher.prompt_tokens,
    "completion_tokens": run.rollout.completion_tokens,
    "rows_per_pass": _ROWS_PER_PASS,
    "secs": {kind: float(np.median(x)) for kind, x in secs.items()},
    "share_of_update": {
      kind: [
        float(q) for q in np.quantile(x / secs["update"], [0.25, 0.5, 0.75])
      ]
      for kind, x in secs.items()
      if kind != "update"
    },
  }
  text = json.dumps(report, indent=1)
  print(text)
  if _OUT.value:
    pathlib.Path(_OUT.value).write_text(text + "\n")


if __name__ == "__main__":
  app.run(main)
