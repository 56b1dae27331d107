"""What PACED-RL's parts add to a step of plain trajectory balance.

python -m benchmarks.paced_cost --out=benchmarks/results/paced_cost.json

All arms take turns within one process, on the same kind of batch: plain
trajectory balance (the group's own log Z, uniform prompts), the same with the
head, with the head choosing prompts, and with replay. Shares are medians over
rounds of the ratio to plain trajectory balance in the same round. Scoring of
40,000 prompts at width 1536 is timed apart, beside a matrix product of as many
operations.
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

from experiments import paced_rl
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import gather
from rlvr_jax import partition_head
from rlvr_jax import programs as programs_lib
from rlvr_jax import sharding
from rlvr_jax.data import tasks
from rlvr_jax.models import log_partition

_ROUNDS = flags.DEFINE_integer("rounds", 60, "Steps of each arm.")
_OUT = flags.DEFINE_string("out", "", "Where the JSON goes; empty: nowhere.")
_WARM_UP = 5


def plain(config):
  """Trajectory balance to the last snapshot, with the group's log Z."""
  del config.log_partition
  config.replay.capacity = 0
  config.selection = dict(name="uniform")
  config.derived = ("vargrad_log_z",)
  config.vargrad_log_z = dict(anchor_logprobs="old_logprobs")
  config.sequence_loss.log_partition = "vargrad_log_z"


def head(config):
  """A head instead."""
  config.replay.capacity = 0
  config.selection = dict(name="uniform")


def selection(config):
  """It chooses the prompts too."""
  config.replay.capacity = 0


def replay(config):
  """And replays rows: all of PACED-RL."""


def ref_kl(config):
  """And measures the divergence from the initial policy."""
  config.updates.measures_ref_kl = True


ARMS = (plain, head, selection, replay, ref_kl)


class Arm:
  """A run of random weights that can be stepped."""

  def __init__(self, change, folder: pathlib.Path):
    config = paced_rl.get_config("tiny")
    config.updates.measures_ref_kl = False
    config.selection.warmup_steps = 0
    config.log_partition.probe_prompts = 0
    change(config)
    experiment = experiment_lib.load(config.to_dict())
    self.run = experiment.run
    task = tasks.load_task(
      self.run.data, self.run.rollout.completion_tokens, folder / "data"
    )
    mesh = sharding.make_mesh(self.run.mesh)
    self.programs = programs_lib.make_programs(experiment, task, mesh)
    params = self.programs.warm_start.fresh().params
    initial, _ = gather.initial_log_partition(self.run, self.programs, params)
    self.state = self.programs.train.adopt(params, initial)
    self.prompts = gather.prompts_with_embeddings(
      self.run, self.programs, params, folder / change.__name__
    )

  def step(self) -> tuple[float, float]:
    """Seconds of the step's first half and of its update."""
    started = time.perf_counter()
    state, rollouts, replayed, metrics = gather.gather(
      self.run, self.programs, self.state, self.prompts
    )
    jax.block_until_ready((rollouts, replayed, metrics))
    between = time.perf_counter()
    self.state, metrics = self.programs.train_step(state, rollouts, replayed)
    jax.block_until_ready(metrics)
    return between - started, time.perf_counter() - between


def step_times(folder: pathlib.Path) -> dict:
  """Seconds by arm, and shares of plain trajectory balance."""
  arms = {arm.__name__: Arm(arm, folder) for arm in ARMS}
  times = {name: [] for name in arms}
  for _ in range(_ROUNDS.value + _WARM_UP):
    for name, arm in arms.items():
      times[name].append(arm.step())
  times = {k: np.array(v[_WARM_UP:]) for k, v in times.items()}
  base = times["plain"].sum(axis=1)
  report = {}
  for name, seconds in times.items():
    ratio = seconds.sum(axis=1) / base
    report[name] = {
      "rollout_secs": float(np.median(seconds[:, 0])),
      "update_secs": float(np.median(seconds[:, 1])),
      "added_percent": float(100 * (np.median(ratio) - 1)),
      "added_percent_quartiles": [
        float(100 * (q - 1)) for q in np.quantile(ratio, [0.25, 0.75])
      ],
    }
  return report


def scoring(num_prompts: int = 40_000, width: int = 1536) -> dict:
  """Seconds to score all prompts, and of a product as large."""
  embeddings = jax.random.normal(jax.random.key(0), (num_prompts, width))
  module = log_partition.LogPartition()
  params = module.init(jax.random.key(1), embeddings[:1])
  score = jax.jit(module.apply)
  weights = jax.random.normal(jax.random.key(2), (width, width))
  product = jax.jit(lambda x: (x @ weights) @ weights)
  timed = lambda f, *x: min(_secs(f, *x) for _ in range(4))
  secs, limit = timed(score, params, embeddings), timed(product, embeddings)
  return {
    "num_prompts": num_prompts,
    "width": width,
    "secs": secs,
    "two_matrix_products_secs": limit,
    "ratio_to_the_products": secs / limit,
    "standardise_secs": timed(jax.jit(partition_head.standardised), embeddings),
    "choose_secs": timed(
      jax.jit(lambda x: jax.lax.top_k(-jnp.abs(x - 0.5), 128)),
      embeddings[:, 0],
    ),
  }


def _secs(function, *arguments) -> float:
  started = time.perf_counter()
  jax.block_until_ready(function(*arguments))
  return time.perf_counter() - started


def main(argv):
  """Times and reports."""
  del argv
  logging.set_verbosity(logging.ERROR)
  with tempfile.TemporaryDirectory() as folder:
    steps = step_times(pathlib.Path(folder))
  report = {
    "date": time.strftime("%Y-%m-%d"),
    "device": jax.devices()[0].device_kind,
    "cpus": os.cpu_count(),
    "load_average": os.getloadavg()[0],
    "python": platform.python_version(),
    "jax": jax.__version__,
    "rounds": _ROUNDS.value,
    "steps": steps,
    "scoring": scoring(),
  }
  text = json.dumps(report, indent=1)
  print(text)
  if _OUT.value:
    pathlib.Path(_OUT.value).write_text(text + "\n")


if __name__ == "__main__":
  app.run(main)
