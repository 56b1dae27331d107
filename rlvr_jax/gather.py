"""Before an update: prompts chosen, sampled from and judged.

`gather` is a step's first half on the host; the other functions make what it
needs once per run. Everything that computes is in `programs`.
"""

import pathlib
from typing import Any

import jax
import numpy as np

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import hosts
from rlvr_jax import programs as programs_lib
from rlvr_jax import records
from rlvr_jax import workdir as workdir_lib


def gather(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  state: records.TrainState,
  prompts: records.PromptBatch,
) -> tuple[
  records.TrainState,
  records.RolloutBatch,
  records.RolloutBatch | None,
  dict[str, jax.Array],
]:
  """What a step learns from: its prompts chosen, sampled from and judged.

  Returns:
    The state with its replay buffer as of this step, fresh rollouts, replayed
    rows, and metrics; `rollout/tokens` counts discarded rollouts too, and
    `rollout/probe_tokens` what a probe generated.
  """
  measured, probed = None, {}
  if programs.pool_size:
    pool = programs.pool(prompts, state.seed, state.step, programs.pool_size)
    measured, probed = programs.measure(
      state.params, state.seed, state.step, pool
    )
  rollouts, metrics = None, {}
  for sampling_round in range(run.refill.max_rounds):
    number = hosts.put(np.int32(sampling_round), state.step.sharding)
    plan, replay, planned = programs.plan(state, prompts, measured, number)
    fresh, sampled = programs.collect(
      state.params, state.seed, state.step, plan.prompts
    )
    if rollouts is None:
      rollouts, metrics = fresh, planned | sampled
      state, replayed = state.replace(replay=replay), plan.replayed
    else:
      rollouts, metrics = programs.merge(rollouts, fresh, metrics, sampled)
    # A look at the device, only where there might be a further round.
    if run.refill.max_rounds > 1 and is_full(metrics):
      break
  if probed:
    metrics["rollout/probe_tokens"] = probed["rollout/tokens"]
  return state, rollouts, replayed, metrics


def is_full(metrics: dict[str, jax.Array]) -> bool:
  """Whether every group of a batch has two verdicts."""
  return float(jax.device_get(metrics["rollout/mixed_group_frac"])) == 1.0


def initial_log_partition(
  run: experiment_lib.Run, programs: programs_lib.Programs, params: Any
) -> tuple[jax.Array, dict[str, float]]:
  """Where the head starts, f32[], and metrics of the probe that found it."""
  config = run.log_partition
  where = programs.train.abstract.step.sharding
  scalar = lambda x: hosts.put(x, where)
  if not config or not config.probe_prompts:
    start = config.initial if config else 0.0
    return scalar(np.float32(start)), {}
  seed, step = scalar(np.int32(run.seed)), scalar(np.int32(0))
  pool = programs.pool(
    programs.task.train.prompts, seed, step, config.probe_prompts
  )
  _, metrics = programs.measure(params, seed, step, pool)
  found = {k: float(v) for k, v in jax.device_get(metrics).items()}
  probed = {
    "log_partition/probe_accuracy": found["train/accuracy"],
    "rollout/probe_tokens": found["rollout/tokens"],
  }
  return scalar(np.float32(found["train/accuracy"])), probed


def borrowed_parameters(source: str, programs: programs_lib.Programs) -> Any:
  """What another run's warm start ended with.

  Raises:
    errors.UserError: if there is no such run, it has not finished its warm
      start, or its model is another.
  """
  folder = pathlib.Path(source) / workdir_lib.WARM_START
  if folder.is_dir():
    with checkpoints.Checkpoints(folder, 1) as saved:
      step = saved.latest_step()
      if step is not None and saved.meta(step)["complete"]:
        return saved.restore(step, programs.warm_start.abstract).params
  raise errors.UserError(
    f"config.warm_start.source is {source!r}, which holds no finished warm"
    " start: give the folder of a run that has got past it"
  )


def prompts_with_embeddings(
  run: experiment_lib.Run,
  programs: programs_lib.Programs,
  params: Any,
  folder: pathlib.Path,
) -> records.PromptBatch:
  """All training prompts, with what the log-partition head reads of them.

  Args:
    run: of the experiment.
    programs: of the run.
    params: what RL starts from; None if it has gone on from there, so that the
      embeddings have to be those on disk.
    folder: of the run.

  Raises:
    errors.UserError: if the embeddings on disk are missing or do not fit.
  """
  prompts = programs.task.train.prompts
  if programs.embed is None:
    return prompts
  with checkpoints.Checkpoints(folder / workdir_lib.EMBEDDINGS, 1) as saved:
    if saved.latest_step() is not None:
      found = saved.restore(0, {"embeddings": programs.embeddings})
      return prompts.replace(**found)
    if params is None:
      raise errors.UserError(
        f"{folder / workdir_lib.EMBEDDINGS} is missing: put it back, since"
        " the initial model is gone that it was computed with"
      )
    embeddings = programs.embed(params, prompts)
    saved.save(0, {"embeddings": embeddings}, {})
  return prompts.replace(embeddings=embeddings)
