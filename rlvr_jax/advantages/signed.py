"""Advantages from the verdict alone: no baseline, no normalisation.

signed_advantages: PSR, NSR and W-REINFORCE.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks


def signed_advantages(
  *,
  is_correct: jax.Array,
  positive_weight: float = 0.1,
  negative_weight: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """A constant of either sign, one value per row, and which rows to keep.

  A = positive_weight if correct else -negative_weight; rows of weight 0 leave
  the batch, numerator and denominator

  See "The Surprising Effectiveness of Negative Reinforcement in LLM
  Reasoning", Zhu et al. (https://arxiv.org/abs/2506.01347): PSR is weights
  (1, 0), NSR (0, 1), W-REINFORCE (0.1, 1) [code:
  TianHongZXY/RLVR-Decomposed:verl/trainer/ppo/core_algos.py, ray_trainer.py].
  Neutral setting: weights (1, 1) are REINFORCE on rewards of -1 and 1.
  Differs from the paper: no. It adds credit to groups of equal verdicts, which
  group-relative advantages leave alone.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import advantages
    >>> values, keep = advantages.signed_advantages(
    ...     is_correct=jnp.array([1.0, 0.0]), positive_weight=0.0)
    >>> values.tolist(), keep.tolist()
    ([0.0, -1.0], [0.0, 1.0])

  Args:
    is_correct: f32[B], the verifier's bit.
    positive_weight: advantage of a correct row.
    negative_weight: minus the advantage of an incorrect row.

  Returns:
    f32[B] advantages and f32[B] keep, 0 on rows to drop.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(is_correct=is_correct)
  right = is_correct > jnp.zeros_like(is_correct)
  values = jnp.where(right, positive_weight, -negative_weight)
  # A verdict may come as a bool, which would make -1 of a wrong row True.
  is_float = jnp.issubdtype(is_correct.dtype, jnp.floating)
  dtype = is_correct.dtype if is_float else jnp.float32
  return values.astype(dtype), (values != 0).astype(dtype)
