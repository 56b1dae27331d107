"""One batch of judged rollouts: sampled, judged, summed up."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rlvr_jax import curriculum
from rlvr_jax import keys
from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax import verbalization
from rlvr_jax.metrics import calibration
from rlvr_jax.metrics import rollouts as rollout_metrics
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import sampler


def sample(
  params: Any,
  seed: jax.Array,
  step: jax.Array,
  prompts: records.PromptBatch,
  *,
  model: transformer.Transformer,
  config: sampler.SamplerConfig,
  stop_ids: Sequence[int],
  pad_id: int,
  stream: str = "sample",
) -> records.RolloutBatch:
  """The rollouts of one step, before any verdict; pure.

  Args:
    params: of the model.
    seed: i32[], run seed.
    step: i32[].
    prompts: G prompts.
    model: the transformer.
    config: how completions are drawn.
    stop_ids: every token that ends a completion.
    pad_id: padding token.
    stream: random stream of the draws, see `keys.STREAMS`.
  """
  return sampler.generate(
    model,
    params,
    prompts,
    keys.stream_key(seed, stream, step),
    config=config,
    stop_ids=stop_ids,
    pad_id=pad_id,
  )


def judged(
  rollouts: records.RolloutBatch,
  outcomes: jax.Array,
  *,
  marker_table: np.ndarray | None = None,
) -> tuple[records.RolloutBatch, dict[str, jax.Array]]:
  """The rollouts with their verdicts, and what there is to tell of them.

  Args:
    rollouts: of `sample`.
    outcomes: i32[B].
    marker_table: bool[V], tokens of doubt to count.

  Returns:
    RolloutBatch, and metrics by name, f32[] each.
  """
  rollouts = rewards.with_outcomes(rollouts, outcomes)
  metrics = rollout_metrics.rollout_metrics(rollouts)
  if rollouts.prompts.accuracy_estimates is not None:
    metrics |= calibration.calibration(rollouts)
    metrics |= calibration.bins(rollouts)
  if marker_table is not None:
    metrics |= verbalization.rollout_metrics(rollouts, marker_table)
  return rollouts, metrics


def measured(
  rollouts: records.RolloutBatch, outcomes: jax.Array
) -> tuple[curriculum.Measured, dict[str, jax.Array]]:
  """Accuracy of prompts by sampling; arguments and metrics of `judged`."""
  rollouts, metrics = judged(rollouts, outcomes)
  return curriculum.measure(rollouts), metrics
