"""One batch of judged rollouts: sample, verify, measure."""

from collections.abc import Callable
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


def collect(
  params: Any,
  seed: jax.Array,
  step: jax.Array,
  prompts: records.PromptBatch,
  *,
  model: transformer.Transformer,
  verify: Callable[..., jax.Array],
  config: sampler.SamplerConfig,
  eos_id: int,
  pad_id: int,
  stream: str = "sample",
  marker_table: np.ndarray | None = None,
) -> tuple[records.RolloutBatch, dict[str, jax.Array]]:
  """The rollouts of one step; pure, a function of its arguments.

  Args:
    params: of the model.
    seed: i32[], run seed.
    step: i32[].
    prompts: G prompts.
    model: the transformer.
    verify: device verifier.
    config: how completions are drawn.
    eos_id: end token.
    pad_id: padding token.
    stream: random stream of the draws, see `keys.STREAMS`.
    marker_table: bool[V], tokens of doubt to count.

  Returns:
    RolloutBatch with verdicts, and metrics by name, f32[] each.
  """
  rollouts = sampler.generate(
    model,
    params,
    prompts,
    keys.stream_key(seed, stream, step),
    config=config,
    eos_id=eos_id,
    pad_id=pad_id,
  )
  rollouts = rewards.judge(rollouts, verify)
  metrics = rollout_metrics.rollout_metrics(rollouts)
  if prompts.accuracy_estimates is not None:
    metrics |= calibration.calibration(rollouts)
  if marker_table is not None:
    metrics |= verbalization.rollout_metrics(rollouts, marker_table)
  return rollouts, metrics


def measure(
  params: Any,
  seed: jax.Array,
  step: jax.Array,
  prompts: records.PromptBatch,
  **how: Any,
) -> tuple[curriculum.Measured, dict[str, jax.Array]]:
  """Accuracy of prompts by sampling; arguments and metrics of `collect`."""
  rollouts, metrics = collect(
    params, seed, step, prompts, **how, stream="probe"
  )
  return curriculum.measure(rollouts), metrics
