"""Credit per token: fields in, TokenShape(weight, bonus, mask) out.

token_advantages = token_advantages * weight + bonus, and loss_mask is
multiplied by mask; the neutral shape is (1, 0, 1). Several compose in the
order that the experiment file gives. All fields come frozen; one that names
`logprobs`, `entropies` or `mean_logprobs` is computed anew at each update.
"""

from rlvr_jax.token_weights.entropy import empg_weights
from rlvr_jax.token_weights.entropy import forking_token_mask
from rlvr_jax.token_weights.entropy import steer_weights
from rlvr_jax.token_weights.planning import hicra_weights
from rlvr_jax.token_weights.shape import TokenShape
from rlvr_jax.token_weights.teacher import antisd
from rlvr_jax.token_weights.teacher import reversed_teacher
from rlvr_jax.token_weights.teacher import rlsd

__all__ = [
  "TokenShape",
  "antisd",
  "empg_weights",
  "forking_token_mask",
  "hicra_weights",
  "reversed_teacher",
  "rlsd",
  "steer_weights",
]
