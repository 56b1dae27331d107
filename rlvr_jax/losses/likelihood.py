"""Losses that are linear in the log-probabilities.

negative_log_likelihood: supervised training on demonstrations.
reinforce: the score function times its advantage.
"""

import jax

from rlvr_jax import checks


def negative_log_likelihood(*, logprobs: jax.Array) -> jax.Array:
  """Minus the log-probability of each token: maximum likelihood.

  loss = -logprobs

  Neutral setting: `reinforce` with all advantages 1.
  Differs from the paper: there is none; textbook [inferred].

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.negative_log_likelihood(logprobs=jnp.array([[-0.5]])).tolist()
    [[0.5]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(logprobs=logprobs)
  return -logprobs


def reinforce(*, logprobs: jax.Array, token_advantages: jax.Array) -> jax.Array:
  """Log-probability times advantage, one value per token.

  loss = -A * logprobs

  See "Simple Statistical Gradient-Following Algorithms for Connectionist
  Reinforcement Learning", Williams
  (https://doi.org/10.1007/BF00992696). Only its gradient has a
  meaning, and only on the policy's own samples: it knows no ratio.
  Neutral setting: all advantages 1 give `negative_log_likelihood`.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.reinforce(logprobs=jnp.array([[-0.5, -1.0]]),
    ...                  token_advantages=jnp.array([[1.0, -2.0]])).tolist()
    [[0.5, -2.0]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    token_advantages: f32[B, T], frozen.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(logprobs=logprobs, token_advantages=token_advantages)
  return -token_advantages * logprobs
