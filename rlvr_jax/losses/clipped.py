"""Token losses that bound how far one update moves the policy.

ppo_clip: the clipped surrogate, with unequal widths.
"""

import chex
import jax
import jax.numpy as jnp


def ppo_clip(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
) -> jax.Array:
  """Clipped policy-gradient surrogate, one value per token.

  loss = -min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A)
  with ratio = exp(logprobs - old_logprobs)

  See "Proximal Policy Optimization Algorithms", Schulman et al.
  (https://arxiv.org/abs/1707.06347), eq. 7; unequal widths: "DAPO"
  (https://arxiv.org/abs/2503.14476).
  Neutral setting: old_logprobs = stop_gradient(logprobs) gives the gradient of
  -A * logprobs at any positive width.
  Differs from the paper: no.

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    clip_low: lower clip width, a distance from 1.
    clip_high: upper clip width, a distance from 1.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.
  """
  chex.assert_rank([logprobs, old_logprobs, token_advantages], 2)
  chex.assert_equal_shape([logprobs, old_logprobs, token_advantages])
  ratio = jnp.exp(logprobs - old_logprobs)
  clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  return -jnp.minimum(ratio * token_advantages, clipped * token_advantages)
