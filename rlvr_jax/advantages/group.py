"""Advantages against the other samples of the same prompt.

grpo_advantages: reward minus the group's mean, over the group's deviation.
"""

import chex
import jax

from rlvr_jax import masked


def grpo_advantages(
  *,
  rewards: jax.Array,
  group_ids: jax.Array,
  valid: jax.Array,
  normalize_std: bool = True,
  epsilon: float = 1e-6,
  ddof: int = 1,
) -> jax.Array:
  """Group-relative advantages, one value per row.

  A = (r - mean_group(r)) / (std_group(r) + epsilon)

  See "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open
  Language Models", Shao et al. (https://arxiv.org/abs/2402.03300), section
  4.1. Bessel's correction and epsilon 1e-6: [code: lasgroup/SDPO, a fork of
  verl]; the paper states neither.
  Neutral setting: normalize_std=False gives rewards minus the group's mean.
  Differs from the paper: no. It multiplies, so a group of equal rewards gets
  exactly 0.

  Args:
    rewards: f32[B].
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.
    normalize_std: divide by the group's standard deviation.
    epsilon: added to the deviation.
    ddof: 1 for Bessel's correction, 0 without.

  Returns:
    f32[B]; 0 on invalid rows.
  """
  chex.assert_rank([rewards, group_ids, valid], 1)
  chex.assert_equal_shape([rewards, group_ids, valid])
  centred = masked.group_centred(rewards, group_ids, valid) * valid
  if not normalize_std:
    return centred
  return centred / (masked.group_std(rewards, group_ids, valid, ddof) + epsilon)
