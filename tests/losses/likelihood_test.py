"""Losses that are linear in the log-probabilities."""

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


def test_reinforce_multiplies_by_the_advantage():
  value = lambda x: losses.reinforce(
    logprobs=x, token_advantages=jnp.asarray([[3.0, -1.5]])
  )
  # -3 * -0.5 and 1.5 * -2.
  for call in (value, jax.jit(value)):
    np.testing.assert_array_equal(call(_LOGPROBS), [[1.5, -3.0]])
  gradient = jax.grad(lambda x: jnp.sum(value(x)))(_LOGPROBS)
  np.testing.assert_array_equal(gradient, [[-3.0, 1.5]])


def test_reinforce_with_advantages_of_one_is_the_likelihood():
  np.testing.assert_array_equal(
    losses.reinforce(
      logprobs=_LOGPROBS, token_advantages=jnp.ones_like(_LOGPROBS)
    ),
    losses.negative_log_likelihood(logprobs=_LOGPROBS),
  )
