"""What a batch of rollouts says of itself, by hand."""

import jax.numpy as jnp
import numpy as np

from rlvr_jax import records
from rlvr_jax.metrics import rollouts as rollout_metrics
from tests import testing


def test_values_by_hand():
  batch = testing.rollout_batch(num_prompts=3, samples=2, length=4)
  index = records.OUTCOMES.index
  batch = batch.replace(
    is_correct=jnp.asarray([1.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    rewards=jnp.asarray([1.0, 0.0, 1.0, 1.0, 0.0, 9.0]),
    valid=jnp.asarray([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
    outcomes=jnp.asarray(
      [0, index("wrong"), 0, 0, index("truncated"), index("crash")]
    ),
  )
  found = rollout_metrics.rollout_metrics(batch)
  expected = {
    "train/reward": 3 / 5,
    "train/accuracy": 3 / 5,
    "rollout/tokens": batch.completion_mask.sum(),
    "rollout/completion_tokens": batch.completion_mask.sum() / 6,
    # Prompt 0 alone is mixed.
    "rollout/mixed_group_frac": 1 / 3,
    "rollout/all_right_group_frac": 1 / 3,
    "rollout/all_wrong_group_frac": 1 / 3,
    "rollout/unfinished_frac": 1 - batch.finished.mean(),
    "rollout/correct_frac": 3 / 6,
    "rollout/wrong_frac": 1 / 6,
    "rollout/truncated_frac": 1 / 6,
    "rollout/crash_frac": 1 / 6,
    "rollout/timeout_frac": 0.0,
  }
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_a_group_that_nobody_judged_is_neither_right_nor_wrong():
  batch = testing.rollout_batch(num_prompts=2, samples=2, length=4)
  batch = batch.replace(
    is_correct=jnp.asarray([1.0, 1.0, 1.0, 0.0]),
    rewards=jnp.ones(4),
    outcomes=jnp.zeros(4, jnp.int32),
    valid=jnp.asarray([0.0, 0.0, 1.0, 0.0]),
  )
  found = rollout_metrics.rollout_metrics(batch)
  assert found["rollout/all_right_group_frac"] == 0.5
  assert found["rollout/all_wrong_group_frac"] == 0.0


def test_right_and_wrong_responses_apart():
  batch = testing.rollout_batch(num_prompts=2, samples=2, length=4)
  lengths = batch.completion_mask.sum(axis=1)
  batch = batch.replace(
    is_correct=jnp.asarray([1.0, 0.0, 1.0, 1.0]),
    valid=jnp.asarray([1.0, 1.0, 1.0, 0.0]),
  )
  found = rollout_metrics.rollout_metrics(batch)
  entropies = (batch.frozen_entropies * batch.completion_mask).sum(axis=1)
  right = np.asarray([0, 2])
  expected = {
    "rollout/length_correct": lengths[right].mean(),
    "rollout/length_wrong": lengths[1],
    "rollout/entropy_correct": entropies[right].sum() / lengths[right].sum(),
    "rollout/entropy_wrong": entropies[1] / lengths[1],
  }
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_a_mean_over_no_response_is_null():
  batch = testing.rollout_batch(num_prompts=2, samples=2, length=4)
  batch = batch.replace(is_correct=jnp.zeros(4))
  found = rollout_metrics.rollout_metrics(batch)
  assert np.isnan(found["rollout/length_correct"])
  assert np.isnan(found["rollout/entropy_correct"])
