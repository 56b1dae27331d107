"""What one batch of judged rollouts says of itself."""

import jax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records


def rollout_metrics(rollouts: records.RolloutBatch) -> dict[str, jax.Array]:
  """Scalars f32[] by name.

  Returns:
    train/reward and train/accuracy: means over judged rows.
    rollout/completion_tokens: mean length, end token included.
    rollout/tokens: generated tokens in this batch.
    rollout/idle_frac: share of the decoding slots' steps that drew no token.
    rollout/mixed_group_frac: share of prompts whose judged samples are
      neither all right nor all wrong: the ones that GRPO learns from.
    rollout/all_right_group_frac, rollout/all_wrong_group_frac: shares of the
      others, but for prompts without a judged sample.
    rollout/unfinished_frac: share of rows that reached the length limit, also
      of those that were right; "truncated" are only the others.
    rollout/<outcome>_frac: shares of rows by how they ended.
    rollout/entropy: nats per token under the sampling distribution.
    rollout/length_correct, rollout/length_wrong: mean length of judged rows
      that are right, and of the others; null where there is none.
    rollout/entropy_correct, rollout/entropy_wrong: of their tokens, likewise.
  """
  valid = rollouts.valid
  mean = lambda values: masked.masked_mean(values, valid).value()
  accuracy = masked.group_mean(rollouts.is_correct, rollouts.group_ids, valid)
  mixed = ((accuracy > 0) & (accuracy < 1)).astype(jnp.float32)
  judged = masked.group_sum(jnp.ones_like(valid), rollouts.group_ids, valid) > 0
  share = lambda condition: jnp.mean(condition.astype(jnp.float32))
  mask = rollouts.completion_mask
  metrics = {
    "train/reward": mean(rollouts.rewards),
    "train/accuracy": mean(rollouts.is_correct),
    "rollout/completion_tokens": jnp.mean(jnp.sum(mask, axis=1)),
    "rollout/tokens": jnp.sum(mask),
    # Every prompt has equally many rows, judged or not, so a mean over rows
    # is one over prompts.
    "rollout/mixed_group_frac": jnp.mean(mixed),
    "rollout/all_right_group_frac": share(judged & (accuracy >= 1)),
    "rollout/all_wrong_group_frac": share(judged & (accuracy <= 0)),
    "rollout/entropy": masked.masked_mean(
      rollouts.frozen_entropies, mask
    ).value(),
  }
  metrics |= _by_correctness(rollouts)
  if rollouts.decode_steps is not None:
    steps = jnp.sum(rollouts.decode_steps)
    metrics["rollout/idle_frac"] = 1.0 - jnp.sum(mask) / steps
  if rollouts.finished is not None:
    metrics["rollout/unfinished_frac"] = 1.0 - jnp.mean(rollouts.finished)
  for index, name in enumerate(records.OUTCOMES):
    ended_so = (rollouts.outcomes == index).astype(jnp.float32)
    metrics[f"rollout/{name}_frac"] = jnp.mean(ended_so)
  return metrics


def _by_correctness(rollouts: records.RolloutBatch) -> dict[str, jax.Array]:
  """Length and entropy of right and of wrong responses."""
  mask, right = rollouts.completion_mask, rollouts.is_correct > 0
  found = {}
  for name, is_of in (("correct", right), ("wrong", ~right)):
    rows = rollouts.valid * is_of.astype(mask.dtype)
    length = masked.masked_mean(jnp.sum(mask, axis=1), rows)
    entropy = masked.masked_mean(
      rollouts.frozen_entropies, mask * rows[:, None]
    )
    for measure, mean in (("length", length), ("entropy", entropy)):
      value = jnp.where(mean.count > 0, mean.value(), jnp.nan)
      found[f"rollout/{measure}_{name}"] = value
  return found
