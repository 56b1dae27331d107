"""What PACED-RL's parts add to a step of plain trajectory balance.

python -m benchmarks.paced_cost --json benchmarks/results/paced_cost.json

All arms take turns within one process, on the same kind of batch: plain
trajectory balance (the group's own log Z, uniform prompts), the same with the
head, with the head choosing prompts, and with replay. Shares are medians over
rounds of the ratio to plain trajectory balance in the same round. Scoring of
40,000 prompts at width 1536 is timed apart, beside a matrix product of as many
operations.
"""

import json
import pathlib
import tempfile
import time

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks import measurement
from benchmarks import runs
from benchmarks import tables
from experiments import paced_rl
from rlvr_jax import gather
from rlvr_jax import partition_head
from rlvr_jax.models import log_partition

# The replay buffer fills, and holds rows of several ages.
_UNCOUNTED = 5


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
    experiment, _, self.programs = runs.prepared(
      config.to_dict(), folder / "data"
    )
    self.run = experiment.run
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


def step_times(folder: pathlib.Path, rounds: int) -> dict:
  """Seconds by arm, and shares of plain trajectory balance."""
  arms = {arm.__name__: Arm(arm, folder) for arm in ARMS}
  steps = {name: arm.step for name, arm in arms.items()}
  times = measurement.in_turn(steps, rounds, _UNCOUNTED)
  base = times["plain"].sum(axis=1)
  report = {}
  for name, secs in times.items():
    added = 100 * (secs.sum(axis=1) / base - 1)
    low, middle, high = tables.quartiles(added)
    report[name] = {
      "rollout_secs": float(np.median(secs[:, 0])),
      "update_secs": float(np.median(secs[:, 1])),
      "added_percent": middle,
      "added_percent_quartiles": [low, high],
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
  timed = lambda f, *x: min(
    measurement.secs_of(lambda: f(*x)) for _ in range(4)
  )
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


def main() -> None:
  """Times and reports."""
  args = measurement.parser(__doc__, rounds=60).parse_args()
  logging.set_verbosity(logging.ERROR)
  started = machine.look()
  with tempfile.TemporaryDirectory() as folder:
    steps = step_times(pathlib.Path(folder), args.rounds)
  report = measurement.record(args, started, steps=steps, scoring=scoring())
  print(json.dumps(report, indent=1))
  measurement.append(args.json, report)


if __name__ == "__main__":
  main()
