"""Losses that imitate given completions.

negative_log_likelihood: supervised training on demonstrations.
"""

import jax


def negative_log_likelihood(*, logprobs: jax.Array) -> jax.Array:
  """Minus the log-probability of each token: maximum likelihood.

  loss = -logprobs

  Neutral setting: the gradient of `ppo_clip` with all advantages 1 and
  old_logprobs = stop_gradient(logprobs).
  Differs from the paper: there is none; textbook [inferred].

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.
  """
  return -logprobs
