"""Supervised training on demonstrations, until RL has something to reward.

Likelihood is one more objective of the same update: a demonstration is a
rollout whose every token counts alike.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rlvr_jax import keys
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import records
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import selection


@dataclasses.dataclass(frozen=True)
class WarmStartConfig:
  """How long to imitate, and when to stop."""

  # Most steps; 0 starts RL from fresh parameters.
  num_steps: int
  batch_size: int
  optimizer: optimizers.OptimizerConfig
  # Stop when this pass@1 is reached on the validation prompts.
  target_pass_at_1: float = 1.0
  # Steps between looks at the validation prompts.
  validate_every_steps: int = 50
  # Folder of a run whose finished warm start is taken instead: what differs
  # between two runs is then what came after. "" for none.
  source: str = ""


def _all_ones(*, valid: jax.Array) -> jax.Array:
  return valid


# Advantages of 1 leave the likelihood as it is.
IMITATION = objective_lib.Objective(
  advantage=objective_lib.bound(_all_ones),
  token_loss=objective_lib.bound(losses.negative_log_likelihood),
)


def demonstrations(
  prompt_set: prompts_lib.PromptSet,
  seed: jax.Array,
  step: jax.Array,
  batch_size: int,
  pad_id: int,
) -> records.RolloutBatch:
  """The demonstrations of one step, one for each of its prompts.

  A prompt comes once an epoch, with one of its demonstrations drawn anew.

  Args:
    prompt_set: the training split.
    seed: i32[], run seed.
    step: i32[].
    batch_size: prompts of the step.
    pad_id: padding token.

  Returns:
    RolloutBatch of batch_size rows, in groups of one.
  """
  ids, _ = selection.uniform(
    seed=seed,
    step=step,
    num_prompts=prompt_set.prompts.prompt_ids.shape[0],
    batch_size=batch_size,
    stream="warm_start_order",
  )
  key = keys.stream_key(seed, "warm_start_draw", step)
  uniforms = jax.vmap(
    lambda prompt: jax.random.uniform(jax.random.fold_in(key, prompt))
  )(ids)
  number = prompt_set.num_demonstrations[ids]
  chosen = (uniforms * number.astype(jnp.float32)).astype(jnp.int32)
  tokens = prompt_set.demonstrations[
    prompt_set.first_demonstration[ids] + chosen
  ]
  rows = jnp.arange(batch_size, dtype=jnp.int32)
  return records.RolloutBatch(
    prompts=prompts_lib.take(prompt_set.prompts, ids),
    completion_tokens=tokens,
    completion_mask=(tokens != pad_id).astype(jnp.float32),
    group_ids=rows,
    sample_index=jnp.zeros_like(rows),
    valid=jnp.ones(batch_size, jnp.float32),
  )


def run(
  state: records.TrainState,
  prompt_set: prompts_lib.PromptSet,
  *,
  step_function: Callable[..., Any],
  validate: Callable[[Any], float],
  config: WarmStartConfig,
  report: Callable[[int, dict[str, float]], None],
  stop_requested: Callable[[], bool],
) -> tuple[records.TrainState, bool]:
  """Imitates until the target is reached, the steps are up, or a stop.

  Args:
    state: fresh, or restored from a stop.
    prompt_set: the training split.
    step_function: compiled (state, prompt set) -> (state, metrics).
    validate: parameters -> pass@1 on the validation prompts.
    config: when to stop.
    report: called with the step and its metrics at every validation.
    stop_requested: looked at after every step.

  Returns:
    The state, and whether the warm start is complete.
  """
  step = int(jax.device_get(state.step))
  while step < config.num_steps:
    state, metrics = step_function(state, prompt_set)
    step += 1
    if step % config.validate_every_steps == 0 or step == config.num_steps:
      accuracy = validate(state.params)
      loss = float(jax.device_get(metrics["policy/loss"]))
      report(step, {"loss": loss, "pass_at_1": accuracy})
      if accuracy >= config.target_pass_at_1:
        return state, True
    if stop_requested():
      return state, step == config.num_steps
  return state, True
