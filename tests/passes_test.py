"""Fields that forward passes fill."""

import jax.numpy as jnp
import numpy as np

from rlvr_jax import passes
from tests import testing


def _scores():
  batch = testing.rollout_batch()
  model, params = testing.tiny_model()
  return batch, testing.score(
    model, params, batch.prompts, batch.completion_tokens
  )


def test_old_log_probs_are_the_live_ones_unless_given():
  batch, scores = _scores()
  found = passes.with_live(scores, {"rewards": batch.rewards})
  np.testing.assert_array_equal(found["old_logprobs"], scores.logprobs)
  assert "support_logprobs" not in found
  given = jnp.zeros_like(scores.logprobs)
  found = passes.with_live(scores, {"old_logprobs": given})
  np.testing.assert_array_equal(found["old_logprobs"], given)
  np.testing.assert_array_equal(found["logprobs"], scores.logprobs)
