"""Advantages against the whole batch.

reinforce_pp_advantages: rewards normalised over all tokens of the batch.
reinforce_pp_baseline_advantages: the same after taking the group's mean off.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked


def reinforce_pp_advantages(
  *,
  rewards: jax.Array,
  valid: jax.Array,
  completion_mask: jax.Array,
  epsilon: float = 1e-8,
) -> jax.Array:
  """Globally normalised advantages, one value per row.

  A = (r - mean(r)) / sqrt(var(r) + epsilon), mean and variance over every
  token of the batch, each carrying its row's reward

  See "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global
  Advantage Normalization", Hu et al. (https://arxiv.org/abs/2501.03262). It
  says "global batch"; statistics over tokens, Bessel's correction and epsilon
  inside the root are verl's whitening [inferred].
  Neutral setting: none; equal rewards in the whole batch give exactly 0, but a
  group of equal rewards in a mixed batch does not: this method learns from
  groups without variance, and needs no groups at all.
  Differs from the paper: its KL penalty inside the reward is a function of its
  own, `sequence_kl_penalty`.

  Example:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import advantages
    >>> values = advantages.reinforce_pp_advantages(
    ...     rewards=jnp.array([1.0, 0.0]), valid=jnp.ones(2),
    ...     completion_mask=jnp.ones((2, 1)))
    >>> np.asarray(values, float).round(3).tolist()
    [0.707, -0.707]

  Args:
    rewards: f32[B].
    valid: f32[B], 0 on rows that belong to no statistic.
    completion_mask: f32[B, T], tokens that the statistics count.
    epsilon: added to the variance.

  Returns:
    f32[B]; 0 on invalid rows.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    rewards=rewards, valid=valid, completion_mask=completion_mask
  )
  present = (valid > 0).astype(rewards.dtype)
  kept = jnp.where(valid > 0, rewards, 0.0)
  weights = jnp.sum(completion_mask, axis=1) * present
  total = jnp.sum(weights)
  # Taken off first, so that equal rewards differ by exactly 0.
  shift = jnp.max(jnp.where(weights > 0, kept, -jnp.inf), initial=-jnp.inf)
  shifted = (kept - jnp.where(jnp.isfinite(shift), shift, 0.0)) * present
  mean = jnp.sum(weights * shifted) / jnp.maximum(total, 1.0)
  centred = (shifted - mean) * present
  squares = jnp.sum(weights * jnp.square(centred))
  variance = squares / jnp.maximum(total - 1.0, 1.0)
  return centred / jnp.sqrt(variance + epsilon)


def reinforce_pp_baseline_advantages(
  *,
  rewards: jax.Array,
  group_ids: jax.Array,
  valid: jax.Array,
  completion_mask: jax.Array,
  epsilon: float = 1e-8,
) -> jax.Array:
  """Group-centred rewards, normalised globally, one value per row.

  `reinforce_pp_advantages` of r - mean_group(r)

  See "REINFORCE++" (https://arxiv.org/abs/2501.03262), section 3.2,
  REINFORCE++ w/ Baseline; statistics over tokens as there [inferred].
  Neutral setting: groups of one mean reward give `reinforce_pp_advantages`.
  Differs from the paper: no. The mean over tokens of centred rewards is not
  0 where lengths differ: a group of equal rewards then gets a small credit.

  Example:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import advantages
    >>> values = advantages.reinforce_pp_baseline_advantages(
    ...     rewards=jnp.array([1.0, 0.0, 1.0, 1.0]),
    ...     group_ids=jnp.array([0, 0, 1, 1]), valid=jnp.ones(4),
    ...     completion_mask=jnp.ones((4, 1)))
    >>> np.asarray(values, float).round(3).tolist()
    [1.225, -1.225, 0.0, 0.0]

  Args:
    rewards: f32[B].
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.
    completion_mask: f32[B, T], tokens that the statistics count.
    epsilon: added to the variance.

  Returns:
    f32[B]; 0 on invalid rows.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    rewards=rewards,
    group_ids=group_ids,
    valid=valid,
    completion_mask=completion_mask,
  )
  checks.groups(group_ids)
  return reinforce_pp_advantages(
    rewards=masked.group_centred(rewards, group_ids, valid),
    valid=valid,
    completion_mask=completion_mask,
    epsilon=epsilon,
  )
