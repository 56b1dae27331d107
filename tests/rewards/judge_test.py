"""Verdicts become rewards; what was not judged never becomes a zero."""

import jax.numpy as jnp
import numpy as np

from rlvr_jax import records
from rlvr_jax import rewards
from tests import testing


def _judged(*names):
  outcomes = jnp.asarray([records.OUTCOMES.index(n) for n in names], jnp.int32)
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  batch = batch.replace(valid=jnp.asarray([1.0, 1.0, 1.0, 0.0]))
  return rewards.judge(batch, lambda *, completion_tokens: outcomes)


def test_only_correct_is_rewarded():
  batch = _judged("correct", "wrong", "unparsed", "truncated")
  np.testing.assert_array_equal(batch.rewards, [1, 0, 0, 0])
  np.testing.assert_array_equal(batch.is_correct, [1, 0, 0, 0])


def test_rows_that_were_not_judged_leave_the_batch():
  batch = _judged("crash", "timeout", "gold_unparsed", "correct")
  np.testing.assert_array_equal(batch.valid, [0, 0, 0, 0])


def test_rows_that_were_invalid_before_stay_so():
  batch = _judged("wrong", "wrong", "wrong", "correct")
  np.testing.assert_array_equal(batch.valid, [1, 1, 1, 0])


def test_a_verifier_gets_the_answers_it_names_once_per_row():
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  batch = batch.replace(
    prompts=batch.prompts.replace(
      answers={"answer": jnp.array([5, 7]), "other": jnp.array([0, 0])}
    )
  )
  seen = []

  def verify(*, completion_tokens, answer):
    seen.append(np.asarray(answer))
    return jnp.zeros(completion_tokens.shape[0], jnp.int32)

  rewards.judge(batch, verify)
  np.testing.assert_array_equal(seen[0], [5, 5, 7, 7])
