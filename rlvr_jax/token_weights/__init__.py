"""Credit per token: fields in, TokenShape(weight, bonus, mask) out.

token_advantages = advantages * weight + bonus, and loss_mask is multiplied by
mask; the neutral shape is (1, 0, 1). Several compose: weights and masks
multiply, bonuses add.
"""

from typing import NamedTuple

import jax


class TokenShape(NamedTuple):
  """What one method does to the credit of tokens.

  Attributes:
    weight: f32[B, T] or 1.
    bonus: f32[B, T] or 0.
    mask: f32[B, T] or 1.
  """

  weight: jax.Array | float = 1.0
  bonus: jax.Array | float = 0.0
  mask: jax.Array | float = 1.0


__all__ = ["TokenShape"]
