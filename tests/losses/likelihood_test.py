"""Maximum likelihood is the surrogate with all advantages 1."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import losses

_LOGPROBS = jnp.asarray([[-0.5, -2.0]])


def test_value():
  np.testing.assert_array_equal(
    losses.negative_log_likelihood(logprobs=_LOGPROBS), [[0.5, 2.0]]
  )


def test_neutral_setting():
  surrogate = lambda x: jnp.sum(
    losses.ppo_clip(
      logprobs=x,
      old_logprobs=jax.lax.stop_gradient(x),
      token_advantages=jnp.ones_like(x),
    )
  )
  likelihood = lambda x: jnp.sum(losses.negative_log_likelihood(logprobs=x))
  np.testing.assert_array_equal(
    jax.grad(surrogate)(_LOGPROBS), jax.grad(likelihood)(_LOGPROBS)
  )
