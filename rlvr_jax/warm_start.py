"""Supervised training on demonstrations, until RL has something to reward.

Likelihood is one more objective of the same update: a demonstration is a
rollout whose every token counts alike.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from rlvr_jax import keys
from rlvr_jax import losses
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import selection
from rlvr_jax.data import templates
from rlvr_jax.rollouts import demonstrations as teacher_contexts


@dataclasses.dataclass(frozen=True)
class HintsConfig:
  """Demonstrations behind a teacher's prompt, so that hints mean something.

  Example: HintsConfig(every=4, copy_frac=0.8).
  """

  # One batch in so many is behind teacher prompts.
  every: int
  # Share of rows that are to be answered with the very demonstration shown;
  # were the two drawn apart, the model would learn to ignore hints.
  copy_frac: float = 0.8
  # Contexts that these batches take in turn.
  contexts: tuple[str, ...] = ("sibling",)

  def __post_init__(self):
    settings.require(
      self.every >= 1,
      f"config.warm_start.hints.every is {self.every}: set it to 1 or more",
    )
    settings.require(
      0.0 <= self.copy_frac <= 1.0,
      f"config.warm_start.hints.copy_frac is {self.copy_frac}: a share lies in"
      " 0 .. 1",
    )
    for name in self.contexts:
      settings.require(
        name in teacher_contexts.CONTEXTS,
        f"config.warm_start.hints.contexts has {name!r}:"
        f" {names.did_you_mean(name, teacher_contexts.CONTEXTS)}",
      )


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
  # Batches with a teacher's prompts among the others.
  hints: HintsConfig | None = None


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
  number, uniforms = _draws(prompt_set, ids, seed, step)
  tokens = _demonstration(prompt_set, ids, uniforms(0) * number)
  return _rollouts(prompts_lib.take(prompt_set.prompts, ids), tokens, pad_id)


def hinted_demonstrations(
  prompt_set: prompts_lib.PromptSet,
  seed: jax.Array,
  step: jax.Array,
  batch_size: int,
  *,
  config: HintsConfig,
  pieces: Sequence[templates.Piece],
  prompt_tokens: int,
  stop_ids: Sequence[int],
  pad_id: int,
) -> records.RolloutBatch:
  """The demonstrations of one step, behind prompts that show one.

  Args:
    prompt_set: the training split.
    seed: i32[], run seed.
    step: i32[].
    batch_size: prompts of the step.
    config: of the hints.
    pieces: of the teacher's template.
    prompt_tokens: length of the teacher's prompt bucket.
    stop_ids: what ends a demonstration, not shown.
    pad_id: padding token.

  Returns:
    RolloutBatch of batch_size rows, in groups of one.
  """
  plain = demonstrations(prompt_set, seed, step, batch_size, pad_id)
  ids = plain.prompts.prompt_ids
  number, uniforms = _draws(prompt_set, ids, seed, step)
  first = _demonstration(prompt_set, ids, jnp.zeros_like(number))
  drawn = _demonstration(prompt_set, ids, uniforms(1) * number)

  # What is shown, and the demonstration that it comes from.
  def shown(context: str):
    if context == "sibling":
      hidden = jnp.asarray((pad_id, *stop_ids))
      return drawn, ~jnp.isin(drawn, hidden), drawn
    tokens, mask = plain.prompts.hints[context]
    return tokens, mask > 0, first

  options = [shown(context) for context in config.contexts]
  width = max(tokens.shape[1] for tokens, _, _ in options)
  widen = lambda x: jnp.pad(x, ((0, 0), (0, width - x.shape[1])))
  tokens, mask = (
    jnp.stack([widen(option[i]) for option in options]) for i in (0, 1)
  )
  origin = jnp.stack([option[2] for option in options])
  turn = step // config.every % len(options)
  tokens, mask, origin = tokens[turn], mask[turn], origin[turn]
  filled, _ = templates.fill(
    pieces,
    plain.prompts.replace(hints=None),
    tokens,
    mask.astype(jnp.float32),
    width=prompt_tokens,
    pad_id=pad_id,
  )
  copies = uniforms(2) < config.copy_frac
  target = jnp.where(copies[:, None], origin, plain.completion_tokens)
  return _rollouts(filled, target, pad_id)


def _draws(prompt_set, ids, seed, step):
  """Demonstrations per prompt f32[B]; and a maker of uniforms f32[B]."""
  key = keys.stream_key(seed, "warm_start_draw", step)

  def uniforms(number: int) -> jax.Array:
    own = lambda prompt: jax.random.fold_in(key, prompt)
    # The first draw of a prompt has no number of its own.
    keyed = (
      own
      if not number
      else lambda prompt: jax.random.fold_in(own(prompt), number)
    )
    return jax.vmap(lambda prompt: jax.random.uniform(keyed(prompt)))(ids)

  return prompt_set.num_demonstrations[ids].astype(jnp.float32), uniforms


def _demonstration(prompt_set, ids, place: jax.Array) -> jax.Array:
  """i32[B, T], the demonstrations at these places of their prompts."""
  chosen = prompt_set.first_demonstration[ids] + place.astype(jnp.int32)
  return prompt_set.demonstrations[chosen]


def _rollouts(prompts, tokens, pad_id: int) -> records.RolloutBatch:
  rows = jnp.arange(tokens.shape[0], dtype=jnp.int32)
  return records.RolloutBatch(
    prompts=prompts,
    completion_tokens=tokens,
    completion_mask=(tokens != pad_id).astype(jnp.float32),
    group_ids=rows,
    sample_index=jnp.zeros_like(rows),
    valid=jnp.ones(tokens.shape[0], jnp.float32),
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
    step_function: compiled (state, prompt set, step) -> (state, metrics).
    validate: parameters -> pass@1 on the validation prompts.
    config: when to stop.
    report: called with the step and its metrics at every validation.
    stop_requested: looked at after every step.

  Returns:
    The state, and whether the warm start is complete.
  """
  step = int(jax.device_get(state.step))
  while step < config.num_steps:
    state, metrics = step_function(state, prompt_set, step)
    step += 1
    if step % config.validate_every_steps == 0 or step == config.num_steps:
      accuracy = validate(state.params)
      loss = float(jax.device_get(metrics["policy/loss"]))
      check_loss(loss, step)
      report(step, {"loss": loss, "pass_at_1": accuracy})
      if accuracy >= config.target_pass_at_1:
        return state, True
    if stop_requested():
      return state, step == config.num_steps
  return state, True


def check_loss(loss: float, step: int) -> None:
  """Stops a warm start whose loss is no number.

  Raises:
    errors.UserError: with the value.
  """
  settings.require(
    math.isfinite(loss),
    f"the warm start's loss is {loss} at step {step}: lower"
    " config.warm_start.optimizer.learning_rate",
  )
