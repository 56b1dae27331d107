"""Means over tokens of one update, by hand."""

import jax.numpy as jnp
import numpy as np

from rlvr_jax.metrics import policy


def test_values_by_hand():
  rows = lambda *values: jnp.asarray([values], jnp.float32)
  means = policy.token_means(
    {
      "completion_mask": rows(1.0, 1.0, 0.0),
      "logprobs": rows(-1.0, -2.0, jnp.nan),
      "old_logprobs": rows(-1.0, -2.5, 0.0),
      "entropies": rows(0.2, 0.4, jnp.nan),
      "sampler_logprobs": rows(-1.1, -2.0, 0.0),
      "log_kept_mass": rows(0.0, -0.2, 0.0),
    }
  )
  found = {name: mean.value() for name, mean in means.items()}
  ratio = np.exp(0.5)
  expected = {
    "entropy": 0.3,
    "ratio_gap": (ratio - 1) / 2,
    "kl_old": (ratio - 1 - 0.5) / 2,
    "sampler_gap": (0.1 + 0.2) / 2,
  }
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5)


def test_demonstrations_have_no_sampler():
  batch = {
    name: jnp.zeros((1, 2))
    for name in ("completion_mask", "logprobs", "old_logprobs", "entropies")
  }
  assert "sampler_gap" not in policy.token_means(batch)
