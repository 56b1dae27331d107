"""Credit per token from what the token does in the argument.

hicra_weights: more credit on planning tokens.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax.token_weights.shape import TokenShape


def hicra_weights(
  *,
  token_advantages: jax.Array,
  planning_tokens: jax.Array,
  amplification: float = 0.2,
) -> TokenShape:
  """A bonus of a share of the advantage's size on planning tokens.

  A + amplification * |A| on planning tokens, A elsewhere

  See "Emergent Hierarchical Reasoning in LLMs through Reinforcement Learning"
  (https://arxiv.org/abs/2509.03646) [paper excerpt, via notes]. Where A < 0
  the formula softens the penalty (-1 becomes -0.8); accounts that speak of a
  sharper one contradict it.
  Neutral setting: amplification=0.
  Differs from the paper: no. The bonus scales with |A|, so a group of equal
  rewards still gets exactly 0.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import token_weights
    >>> token_weights.hicra_weights(
    ...     token_advantages=jnp.array([[1.0, -1.0, 1.0]]),
    ...     planning_tokens=jnp.array([[1.0, 1.0, 0.0]]),
    ...     amplification=0.25).bonus.tolist()
    [[0.25, 0.25, 0.0]]

  Args:
    token_advantages: f32[B, T], frozen.
    planning_tokens: f32[B, T], 1 on planning tokens, from
      `derived.planning_tokens`.
    amplification: alpha, share of the advantage's size to add.

  Returns:
    TokenShape with bonuses.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    token_advantages=token_advantages, planning_tokens=planning_tokens
  )
  bonus = amplification * jnp.abs(token_advantages) * planning_tokens
  return TokenShape(bonus=bonus)
