"""A train state at step 0 around given parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from rlvr_jax import curriculum
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import keys
from rlvr_jax import optimizers
from rlvr_jax import records
from rlvr_jax import update
from rlvr_jax.data import replay


def around(
  params: Any, seed: int, optimizer: optax.GradientTransformation
) -> records.TrainState:
  """Parameters, their optimizer, and nothing else."""
  return records.TrainState(
    step=jnp.zeros((), jnp.int32),
    seed=jnp.asarray(seed, jnp.int32),
    params=params,
    opt_state=optimizer.init(params),
  )


def new_state(
  experiment: experiment_lib.Experiment,
  params: Any,
  num_prompts: int,
  initial_log_partition: jax.Array | None = None,
) -> records.TrainState:
  """All that an experiment keeps.

  Args:
    experiment: which parts there are.
    params: what RL starts from; also the frozen reference, where one is read.
    num_prompts: N of the training split.
    initial_log_partition: f32[], output of the head at the start; None takes
      the configured one.
  """
  run, method, select = experiment
  optimizer = optimizers.make_optimizer(run.optimizer)
  state = around(params, run.seed, optimizer)
  weights = run.teacher.weights if run.teacher else ""
  if update.needs_reference(method, run.updates) or weights == "frozen":
    state = state.replace(ref_params=params)
  if weights == "ema":
    state = state.replace(teacher_params=params)
  if head := experiment_lib.make_head(run):
    if initial_log_partition is None:
      initial_log_partition = jnp.asarray(head.config.initial)
    # A stream of its own; "init" draws the policy at step 0.
    key = keys.stream_key(run.seed, "init", 1)
    values = head.init(key, num_prompts, run.model.width, initial_log_partition)
    state = state.replace(
      log_partition=values,
      log_partition_opt_state=head.optimizer.init(values),
    )
  estimates = experiment_lib.make_curriculum(experiment).estimates
  if estimates or select.reads(["visits", "last_steps", "excess_error"]):
    state = state.replace(prompt_stats=curriculum.new_stats(num_prompts))
  if run.replay.capacity:
    tokens = run.rollout.completion_tokens
    buffer = replay.empty(run.replay.capacity, tokens)
    state = state.replace(replay=buffer)
  return state
