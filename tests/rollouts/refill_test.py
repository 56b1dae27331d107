"""Dynamic sampling: mixed groups first, whole, and everything counted."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.metrics import rollouts as rollout_metrics
from rlvr_jax.rollouts import refill
from tests import testing

_SAMPLES = 3
_merge = jax.jit(refill.merge)


def _batch(number, mixed, valid=None):
  """Groups with two verdicts where `mixed` is 1; ids tell where rows are from.

  Tokens hold 100 * prompt + sample, so that a torn group shows.
  """
  batch = testing.rollout_batch(len(mixed), _SAMPLES, seed=number)
  ids = 10 * number + jnp.arange(len(mixed))
  tokens = 100 * jnp.repeat(ids, _SAMPLES) + batch.sample_index
  correct = np.zeros((len(mixed), _SAMPLES), np.float32)
  correct[:, 0] = mixed
  batch = batch.replace(
    prompts=batch.prompts.replace(
      prompt_ids=ids, answers={"target": 7 * ids[:, None]}
    ),
    completion_tokens=jnp.broadcast_to(
      tokens[:, None], batch.completion_mask.shape
    ),
    is_correct=jnp.asarray(correct.reshape(-1)),
    rewards=jnp.asarray(correct.reshape(-1)),
  )
  if valid is not None:
    batch = batch.replace(valid=jnp.asarray(valid, jnp.float32).reshape(-1))
  return batch, rollout_metrics.rollout_metrics(batch)


def _merged(*batches):
  found, metrics = batches[0]
  for fresh, measured in batches[1:]:
    found, metrics = _merge(found, fresh, metrics, measured)
  return found, metrics


def _assert_whole(found):
  ids = np.asarray(found.prompts.prompt_ids)
  rows, index = np.repeat(ids, _SAMPLES), np.arange(len(ids) * _SAMPLES)
  np.testing.assert_array_equal(
    found.completion_tokens[:, 0], 100 * rows + index % _SAMPLES
  )
  np.testing.assert_array_equal(found.sample_index, index % _SAMPLES)
  np.testing.assert_array_equal(found.group_ids, index // _SAMPLES)
  np.testing.assert_array_equal(found.prompts.answers["target"][:, 0], 7 * ids)


def test_mixed_groups_of_the_first_batch_then_of_the_second():
  first, second = _batch(1, [0, 1, 0, 1]), _batch(2, [1, 0, 0, 1])
  found, metrics = _merged(first, second)
  assert found.prompts.prompt_ids.tolist() == [11, 13, 20, 23]
  _assert_whole(found)
  assert metrics["rollout/mixed_group_frac"] == 1.0
  assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, first[0])


def test_a_full_batch_stays_as_it_is():
  first = _batch(1, [1, 1, 1])
  found, _ = _merged(first, _batch(2, [1, 1, 1]))
  jax.tree.map(np.testing.assert_array_equal, found, first[0])


def test_other_groups_fill_the_rest_in_order():
  found, metrics = _merged(_batch(1, [0, 0, 0, 0]), _batch(2, [0, 0, 1, 0]))
  assert found.prompts.prompt_ids.tolist() == [22, 10, 11, 12]
  _assert_whole(found)
  np.testing.assert_allclose(metrics["rollout/mixed_group_frac"], 0.25)


def test_only_judged_samples_make_a_group_mixed():
  """The right sample of the first group was not judged."""
  valid = [[0, 1, 1], [1, 1, 1]]
  found, _ = _merged(_batch(1, [1, 1], valid), _batch(2, [0, 1]))
  assert found.prompts.prompt_ids.tolist() == [11, 21]


def test_everything_that_was_generated_counts():
  batches = _batch(1, [0, 1, 0, 0]), _batch(2, [1, 0, 0, 0])
  found, metrics = _merged(*batches)
  tokens = sum(float(jnp.sum(b.completion_mask)) for b, _ in batches)
  read = float(jnp.sum(found.completion_mask))
  assert metrics["rollout/tokens"] == tokens
  assert metrics["rollout/discarded_tokens"] == tokens - read
  assert metrics["rollout/rounds"] == 2.0


def test_what_was_planned_for_the_step_is_still_told():
  """Calibration too: groups kept for their verdicts would be no fair test."""
  kept, measured = _batch(1, [0, 1])
  planned = {"replay/rows": jnp.asarray(3.0)}
  _, metrics = _merged((kept, planned | measured), _batch(2, [1, 0]))
  assert metrics["replay/rows"] == 3.0
  assert metrics["rollout/mixed_group_frac"] == 1.0


def test_three_batches_merge_in_turn():
  batches = (
    _batch(1, [0, 0, 1, 0]),
    _batch(2, [0, 1, 0, 0]),
    _batch(3, [0, 0, 1, 1]),
  )
  found, metrics = _merged(*batches)
  assert found.prompts.prompt_ids.tolist() == [12, 21, 32, 33]
  _assert_whole(found)
  tokens = sum(float(jnp.sum(b.completion_mask)) for b, _ in batches)
  assert metrics["rollout/tokens"] == tokens
  read = float(jnp.sum(found.completion_mask))
  assert metrics["rollout/discarded_tokens"] == tokens - read
  assert metrics["rollout/rounds"] == 3.0


def test_idle_steps_are_those_of_all_batches():
  def decoded(batch, share_idle):
    rollouts, _ = batch
    rows = rollouts.valid.shape[0]
    steps = rollouts.completion_mask.sum() / (1 - share_idle)
    rollouts = rollouts.replace(decode_steps=jnp.full(rows, steps / rows))
    return rollouts, rollout_metrics.rollout_metrics(rollouts)

  first = decoded(_batch(1, [0, 1, 0, 1]), 0.5)
  second = decoded(_batch(2, [1, 0, 0, 1]), 0.2)
  third = decoded(_batch(3, [0, 0, 1, 1]), 0.75)
  tokens = [float(x.completion_mask.sum()) for x, _ in (first, second, third)]
  steps = tokens[0] / 0.5 + tokens[1] / 0.8 + tokens[2] / 0.25
  _, metrics = _merged(first, second, third)
  np.testing.assert_allclose(
    metrics["rollout/idle_frac"], 1 - sum(tokens) / steps, rtol=1e-5
  )
