"""Advantages against the whole batch.

reinforce_pp_advantages: rewards normalised over all tokens of the batch.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked


def reinforce_pp_advantages(
  *,
  rewards: jax.Array,
  group_ids: jax.Array,
  valid: jax.Array,
  completion_mask: jax.Array,
  group_baseline: bool = False,
  epsilon: float = 1e-8,
) -> jax.Array:
  """Globally normalised advantages, one value per row.

  A = (r - mean(r)) / sqrt(var(r) + epsilon), mean and variance over every
  token of the batch, each carrying its row's reward

  See "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global
  Advantage Normalization", Hu et al. (https://arxiv.org/abs/2501.03262).
  Statistics over tokens, Bessel's correction and epsilon inside the root:
  verl's whitening [inferred from its released behaviour]; the paper says
  "global batch". `group_baseline` is its REINFORCE++-baseline: the group's
  mean is taken off first.
  Neutral setting: none; equal rewards in the whole batch give exactly 0, but a
  group of equal rewards in a mixed batch does not: this method learns from
  groups without variance.
  Differs from the paper: its KL penalty inside the reward is a function of its
  own (`reward_shaping`).

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import advantages
    >>> advantages.reinforce_pp_advantages(
    ...     rewards=jnp.array([1.0, 0.0]), group_ids=jnp.array([0, 1]),
    ...     valid=jnp.ones(2), completion_mask=jnp.ones((2, 1))
    ... ).round(3).tolist()
    [0.7070..., -0.7070...]

  Args:
    rewards: f32[B].
    group_ids: i32[B], read with group_baseline alone.
    valid: f32[B], 0 on rows that belong to no statistic.
    completion_mask: f32[B, T], tokens that the statistics count.
    group_baseline: take the group's mean off the rewards first.
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
  if group_baseline:
    checks.groups(group_ids)
    rewards = masked.group_centred(rewards, group_ids, valid)
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
