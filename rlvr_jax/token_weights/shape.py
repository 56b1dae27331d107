"""What every function of this room returns."""

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
