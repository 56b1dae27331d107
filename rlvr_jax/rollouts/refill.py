"""Dynamic sampling: further batches until every group has two verdicts.

"DAPO" (https://arxiv.org/abs/2503.14476), section 3.2. What is discarded was
generated all the same and counts as generated tokens.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records
from rlvr_jax.metrics import rollouts as rollout_metrics


@dataclasses.dataclass(frozen=True)
class RefillConfig:
  """How long a step goes on sampling."""

  # Batches of prompts a step may sample; 1 takes the first as it is.
  max_rounds: int = 1


def merge(
  kept: records.RolloutBatch,
  fresh: records.RolloutBatch,
  measured: dict[str, jax.Array],
  measured_fresh: dict[str, jax.Array],
) -> tuple[records.RolloutBatch, dict[str, jax.Array]]:
  """The first G mixed groups of two batches of G; others fill the rest.

  Args:
    kept: what there is.
    fresh: the next batch.
    measured: metrics of `kept`.
    measured_fresh: metrics of `fresh`.

  Returns:
    RolloutBatch of G groups, mixed ones first, and its metrics;
    `rollout/tokens` and `rollout/idle_frac` are of all that was generated.
    Metrics of other kinds (estimates, replay) stay those of `kept`.
  """
  num_groups = kept.prompts.prompt_ids.shape[0]
  both = jnp.concatenate([_mixed(kept), _mixed(fresh)])
  order = jnp.argsort(~both, stable=True)[:num_groups]
  by_group = lambda x: x.reshape(num_groups, -1, *x.shape[1:])

  def pick(old, new):
    rows = jnp.concatenate([by_group(old), by_group(new)])[order]
    return rows.reshape(old.shape)

  merged = jax.tree.map(pick, kept, fresh).replace(group_ids=kept.group_ids)
  metrics = rollout_metrics.rollout_metrics(merged)
  tokens = measured["rollout/tokens"] + measured_fresh["rollout/tokens"]
  unread = tokens - metrics["rollout/tokens"]
  if "rollout/idle_frac" in metrics:
    steps = _slot_steps(measured) + _slot_steps(measured_fresh)
    metrics["rollout/idle_frac"] = 1.0 - tokens / steps
  return merged, measured | metrics | {
    "rollout/tokens": tokens,
    "rollout/discarded_tokens": unread,
    "rollout/rounds": measured.get("rollout/rounds", jnp.ones(())) + 1.0,
  }


def _slot_steps(measured: dict[str, jax.Array]) -> jax.Array:
  return measured["rollout/tokens"] / (1.0 - measured["rollout/idle_frac"])


def _mixed(rollouts: records.RolloutBatch) -> jax.Array:
  """Whether each prompt's judged samples have both verdicts, bool[G]."""
  accuracy = masked.group_mean(
    rollouts.is_correct, rollouts.group_ids, rollouts.valid
  )
  accuracy = accuracy.reshape(rollouts.prompts.prompt_ids.shape[0], -1)[:, 0]
  return (accuracy > 0) & (accuracy < 1)
