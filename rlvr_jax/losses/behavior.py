"""Corrections for who acted: the sampler, a mixture, a forced prefix.

truncated_importance: weights for a sampler that differs from the trainer.

A correction returns Behavior(old_logprobs, weight): another denominator of
the ratio, or a factor of the policy loss that no clip touches.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlvr_jax import checks


class Behavior(NamedTuple):
  """What a correction does to the policy term.

  Attributes:
    old_logprobs: f32[B, T] in place of the trainer's, or None.
    weight: f32[B, T] or 1, a factor of the token losses.
  """

  old_logprobs: jax.Array | None = None
  weight: jax.Array | float = 1.0


def truncated_importance(
  *,
  old_logprobs: jax.Array,
  sampler_logprobs: jax.Array,
  cap: float = 2.0,
) -> Behavior:
  """Truncated importance weights between trainer and sampler (TIS).

  weight = min(exp(old_logprobs - sampler_logprobs), cap)

  See "Your Efficient RL Framework Secretly Brings You Off-Policy RL
  Training", Yao et al. (https://fengyao.notion.site/off-policy-rl), after
  "Truncated Importance Sampling", Ionides
  (https://doi.org/10.1198/106186008X320456). The weight is a constant: it
  multiplies the loss outside of the clip.
  Neutral setting: sampler_logprobs = old_logprobs gives weight 1.
  Differs from the paper: no. One weight a token, which corrects the
  distribution of each token given its prefix, not that of the prefix.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.truncated_importance(
    ...     old_logprobs=jnp.log(jnp.array([[0.5, 0.25]])),
    ...     sampler_logprobs=jnp.log(jnp.array([[0.125, 0.5]]))).weight.tolist()
    [[2.0, 0.5]]

  Args:
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    sampler_logprobs: f32[B, T], of the distribution actually sampled from.
    cap: largest weight.

  Returns:
    Behavior with weight f32[B, T].

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(old_logprobs=old_logprobs, sampler_logprobs=sampler_logprobs)
  return Behavior(
    weight=jnp.minimum(jnp.exp(old_logprobs - sampler_logprobs), cap)
  )
