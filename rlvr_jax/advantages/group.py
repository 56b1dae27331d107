"""Advantages against the other samples of the same prompt.

grpo_advantages: reward minus the group's mean, over the group's deviation.
dr_grpo_advantages: reward minus the group's mean.
rloo_advantages: reward minus the mean of the other samples.

All of them multiply a reward difference: a group of equal rewards gets
exactly 0.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
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
  Neutral setting: normalize_std=False gives `dr_grpo_advantages`.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import advantages
    >>> values = advantages.grpo_advantages(
    ...     rewards=jnp.array([1.0, 0.0, 1.0, 1.0]),
    ...     group_ids=jnp.array([0, 0, 1, 1]), valid=jnp.ones(4))
    >>> np.asarray(values, float).round(3).tolist()
    [0.707, -0.707, 0.0, 0.0]

  Args:
    rewards: f32[B].
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.
    normalize_std: divide by the group's standard deviation.
    epsilon: added to the deviation.
    ddof: 1 for Bessel's correction, 0 without.

  Returns:
    f32[B]; 0 on invalid rows.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(rewards=rewards, group_ids=group_ids, valid=valid)
  checks.groups(group_ids)
  present = (valid > 0).astype(rewards.dtype)
  centred = masked.group_centred(rewards, group_ids, valid) * present
  if not normalize_std:
    return centred
  return centred / (masked.group_std(rewards, group_ids, valid, ddof) + epsilon)


def dr_grpo_advantages(
  *, rewards: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """Reward minus the group's mean, one value per row.

  A = r - mean_group(r)

  See "Understanding R1-Zero-Like Training: A Critical Perspective", Liu et al.
  (https://arxiv.org/abs/2503.20783), section 3.2: dividing by the deviation
  favours questions that are nearly always or nearly never solved. The other
  half of Dr. GRPO is the aggregate `fixed_length`.
  Neutral setting: `grpo_advantages` with normalize_std=False.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import advantages
    >>> advantages.dr_grpo_advantages(
    ...     rewards=jnp.array([1.0, 0.0, 0.0, 0.0]),
    ...     group_ids=jnp.zeros(4, int), valid=jnp.ones(4)).tolist()
    [0.75, -0.25, -0.25, -0.25]

  Args:
    rewards: f32[B].
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.

  Returns:
    f32[B]; 0 on invalid rows.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  return grpo_advantages(
    rewards=rewards, group_ids=group_ids, valid=valid, normalize_std=False
  )


def rloo_advantages(
  *, rewards: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """Reward minus the mean of the group's other samples, one value per row.

  A_i = r_i - mean_{j != i}(r_j) = n / (n - 1) * (r_i - mean_group(r))

  See "Back to Basics: Revisiting REINFORCE Style Optimization for Learning
  from Human Feedback in LLMs", Ahmadian et al.
  (https://arxiv.org/abs/2402.14740). Unbiased: the baseline of a
  sample does not depend on it.
  Neutral setting: large groups approach `dr_grpo_advantages`.
  Differs from the paper: no. A row without valid companions gets 0, since
  nothing is left to compare it with [inferred].

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import advantages
    >>> advantages.rloo_advantages(
    ...     rewards=jnp.array([3.0, 0.0, 0.0]),
    ...     group_ids=jnp.zeros(3, int), valid=jnp.ones(3)).tolist()
    [3.0, -1.5, -1.5]

  Args:
    rewards: f32[B].
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.

  Returns:
    f32[B]; 0 on invalid rows.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(rewards=rewards, group_ids=group_ids, valid=valid)
  checks.groups(group_ids)
  count = masked.group_sum(jnp.ones_like(rewards), group_ids, valid)
  others = count - 1.0
  factor = jnp.where(
    others > 0, count / jnp.where(others > 0, others, 1.0), 0.0
  )
  present = (valid > 0).astype(rewards.dtype)
  return masked.group_centred(rewards, group_ids, valid) * present * factor
