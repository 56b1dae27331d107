"""Masked and grouped reductions: written once, tested hard.

Values are masked before they are multiplied, so that a NaN or infinity in a
masked cell neither reaches the result nor its gradient.
"""

import chex
import jax
import jax.numpy as jnp

from rlvr_jax import records


def masked_sum(values: jax.Array, mask: jax.Array, axis=None) -> jax.Array:
  """Sum of the values where mask is not 0, weighted by mask; f32."""
  chex.assert_equal_shape([values, mask])
  kept = jnp.where(mask != 0, values, 0.0)
  return jnp.sum(kept * mask, axis=axis)


def masked_mean(values: jax.Array, mask: jax.Array) -> records.Mean:
  """Sum and count of the values under the mask, still apart."""
  return records.Mean(masked_sum(values, mask), jnp.sum(mask))


def group_sum(
  values: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """Sum over the valid rows of each row's group, f32[B], laid back on rows.

  Args:
    values: f32[B].
    group_ids: i32[B], each in 0 .. B - 1.
    valid: f32[B], 0 on rows that do not count.

  Returns:
    f32[B]; invalid rows also receive their group's sum.
  """
  chex.assert_rank([values, group_ids, valid], 1)
  chex.assert_equal_shape([values, group_ids, valid])
  kept = jnp.where(valid != 0, values, 0.0) * valid
  sums = jax.ops.segment_sum(kept, group_ids, num_segments=values.shape[0])
  return sums[group_ids]


def group_mean(
  values: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """Mean over the valid rows of each row's group, f32[B]; 0 if none is."""
  count = group_sum(jnp.ones_like(values), group_ids, valid)
  return group_sum(values, group_ids, valid) / jnp.maximum(count, 1.0)


def group_centred(
  values: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """Values minus their group's mean, f32[B]; exactly 0 in an equal group.

  The group's maximum is taken off first: equal values then differ by exactly
  0, where a mean alone can be one rounding away from each of them.
  """
  chex.assert_rank([values, group_ids, valid], 1)
  chex.assert_equal_shape([values, group_ids, valid])
  low = jnp.where(valid != 0, values, -jnp.inf)
  top = jax.ops.segment_max(low, group_ids, num_segments=values.shape[0])
  shifted = jnp.where(valid != 0, values - top[group_ids], 0.0)
  return shifted - group_mean(shifted, group_ids, valid)


def group_std(
  values: jax.Array, group_ids: jax.Array, valid: jax.Array, ddof: int
) -> jax.Array:
  """Standard deviation within each row's group, f32[B].

  Args:
    values: f32[B].
    group_ids: i32[B], each in 0 .. B - 1.
    valid: f32[B].
    ddof: 1 for Bessel's correction, 0 without.

  Returns:
    f32[B]; 0 where the group has too few rows, exactly 0 in an equal group.
  """
  count = group_sum(jnp.ones_like(values), group_ids, valid)
  centred = group_centred(values, group_ids, valid)
  squares = group_sum(jnp.square(centred), group_ids, valid)
  return jnp.sqrt(squares / jnp.maximum(count - float(ddof), 1.0))
