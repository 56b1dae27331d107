"""Responses kept for further updates: a fixed number of slots, put and take.

Reading A of "Beyond Normalization" (https://arxiv.org/abs/2602.12642), whose
notes say "128 buffer / add 64" [paper excerpt: digest] and leave draw, age and
eviction open: those rules are [inferred]. Priority of a response is
e = |share of its group that was right - the head's estimate|. Only right
responses are kept, at most one of a prompt and step.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import prompts as prompts_lib


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
  """What is kept, for how long, and how much of it joins an update."""

  # Slots; 0 keeps nothing.
  capacity: int = 0
  # Most responses put in after a step.
  insert_rows: int = 0
  # Most responses taken out for a step.
  replay_rows: int = 0
  # Steps that a response has to have waited, and may have.
  min_age: int = 1
  max_age: int = 4
  # Old log-probabilities of replayed rows: "recomputed" under the policy of
  # the step, or "stored" when they were written.
  anchor: str = "recomputed"

  def __post_init__(self):
    if not self.capacity:
      return
    settings.require(
      0 < self.insert_rows <= self.capacity,
      f"config.replay.capacity is {self.capacity}, but insert_rows is"
      f" {self.insert_rows}: put in at least 1 and at most as many as there"
      " are slots",
    )
    settings.require(
      0 < self.replay_rows <= self.capacity,
      f"config.replay.replay_rows is {self.replay_rows}: take out at least 1"
      f" and at most capacity ({self.capacity})",
    )
    settings.require(
      1 <= self.min_age <= self.max_age,
      f"config.replay.min_age is {self.min_age}, max_age {self.max_age}: a row"
      " is 1 step old at its first replay, and min_age is at most max_age",
    )
    settings.require(
      self.anchor in ("recomputed", "stored"),
      f"config.replay.anchor is {self.anchor!r}: choose recomputed or stored",
    )


def empty(capacity: int, num_tokens: int) -> records.Replay:
  """A buffer of empty slots."""
  rows = lambda dtype: jnp.zeros(capacity, dtype)
  cells = lambda dtype: jnp.zeros((capacity, num_tokens), dtype)
  return records.Replay(
    completion_tokens=cells(jnp.int32),
    completion_mask=cells(jnp.float32),
    logprobs=cells(jnp.float32),
    prompt_ids=rows(jnp.int32),
    sample_index=rows(jnp.int32),
    accuracy=rows(jnp.float32),
    priority=rows(jnp.float32),
    born_step=rows(jnp.int32),
    filled=rows(jnp.float32),
  )


def priority(accuracy: jax.Array, estimate: jax.Array) -> jax.Array:
  """|accuracy - estimate|, the estimate clipped to [0, 1]; any shape."""
  return jnp.abs(accuracy - jnp.clip(estimate, 0.0, 1.0))


def candidates(
  rollouts: records.RolloutBatch, step: jax.Array, num_rows: int
) -> records.Replay:
  """The right responses of a step whose prompts were estimated worst.

  Args:
    rollouts: judged; prompts with accuracy_estimates.
    step: i32[], that generated them.
    num_rows: most responses.

  Returns:
    Replay with min(num_rows, G) slots, the largest priority first; of each
    prompt its first right sample. Prompts without one leave empty slots.
  """
  num_prompts = rollouts.prompts.prompt_ids.shape[0]
  grid = lambda x: x.reshape(num_prompts, -1)
  right = grid(rollouts.is_correct * rollouts.valid) > 0
  accuracy = grid(
    masked.group_mean(rollouts.is_correct, rollouts.group_ids, rollouts.valid)
  )[:, 0]
  error = priority(accuracy, rollouts.prompts.accuracy_estimates)
  found = jnp.any(right, axis=1)
  count = min(num_rows, num_prompts)
  _, chosen = jax.lax.top_k(jnp.where(found, error, -1.0), count)
  rows = chosen * right.shape[1] + jnp.argmax(right, axis=1)[chosen]
  logprobs = rollouts.sampler_logprobs + rollouts.log_kept_mass
  return records.Replay(
    completion_tokens=rollouts.completion_tokens[rows],
    completion_mask=rollouts.completion_mask[rows],
    logprobs=logprobs[rows],
    prompt_ids=rollouts.prompts.prompt_ids[chosen],
    sample_index=rollouts.sample_index[rows],
    accuracy=accuracy[chosen],
    priority=error[chosen],
    born_step=jnp.full(count, step, jnp.int32),
    filled=found[chosen].astype(jnp.float32),
  )


def put(buffer: records.Replay, new: records.Replay) -> records.Replay:
  """The capacity's largest priorities out of old and new; pure.

  The new rows replace the slots of smallest priority, empty ones first, as
  far as theirs is larger.

  Args:
    buffer: C slots.
    new: at most C rows, the largest priority first.
  """
  value = lambda x: jnp.where(x.filled > 0, x.priority, -1.0)
  count = new.filled.shape[0]
  slots = jnp.argsort(value(buffer), stable=True)[:count]
  better = (new.filled > 0) & (value(new) > value(buffer)[slots])

  def write(old, rows):
    wins = better.reshape(-1, *[1] * (rows.ndim - 1))
    return old.at[slots].set(jnp.where(wins, rows, old[slots]))

  return jax.tree.map(write, buffer, new)


def refreshed(
  buffer: records.Replay,
  estimates: jax.Array,
  step: jax.Array,
  config: ReplayConfig,
) -> records.Replay:
  """The buffer as of a step: too old rows gone, priorities up to date.

  Args:
    buffer: C slots.
    estimates: f32[C], current accuracy estimate of each slot's prompt.
    step: i32[].
    config: ages.
  """
  alive = step - buffer.born_step <= config.max_age
  return buffer.replace(
    filled=jnp.where(alive, buffer.filled, 0.0),
    priority=priority(buffer.accuracy, estimates),
  )


def take(
  buffer: records.Replay,
  prompts: records.PromptBatch,
  step: jax.Array,
  config: ReplayConfig,
) -> tuple[records.RolloutBatch, dict[str, jax.Array]]:
  """The rows of largest priority as a batch; they stay in the buffer.

  Args:
    buffer: as `refreshed`.
    prompts: all N prompts of the split.
    step: i32[].
    config: how many.

  Returns:
    RolloutBatch of replay_rows rows, each with its own prompt; rows that only
    fill the shape have valid 0. And metrics, f32[] by name.
  """
  age = step - buffer.born_step
  ready = (buffer.filled > 0) & (age >= config.min_age)
  _, slots = jax.lax.top_k(
    jnp.where(ready, buffer.priority, -1.0), config.replay_rows
  )
  rows = jax.tree.map(lambda x: x[slots], buffer)
  valid = ready[slots].astype(jnp.float32)
  batch = records.RolloutBatch(
    prompts=prompts_lib.take(prompts, rows.prompt_ids),
    completion_tokens=rows.completion_tokens,
    completion_mask=rows.completion_mask,
    group_ids=jnp.arange(config.replay_rows, dtype=jnp.int32),
    sample_index=rows.sample_index,
    valid=valid,
    rewards=valid,
    is_correct=valid,
    old_logprobs=rows.logprobs if config.anchor == "stored" else None,
  )
  mean = lambda x: masked.masked_mean(x, valid).value()
  same = rows.prompt_ids[:, None] == rows.prompt_ids[None]
  earlier = jnp.tril(jnp.ones(same.shape, bool), -1) & (valid > 0)[None]
  first = jnp.where(jnp.any(same & earlier, axis=1), 0.0, valid)
  return batch, {
    "replay/rows": jnp.sum(valid),
    "replay/age": mean(age[slots].astype(jnp.float32)),
    "replay/priority": mean(rows.priority),
    "replay/unique_prompts": jnp.sum(first),
    "replay/filled_frac": jnp.mean(buffer.filled),
  }
