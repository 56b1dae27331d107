"""Masked and grouped reductions: written once, tested hard.

Values are masked before they are multiplied, so that a NaN or infinity in a
masked cell neither reaches the result nor its gradient.
"""

import chex
import jax
import jax.numpy as jnp

from rlvr_jax import records


def masked_sum(
  values: jax.Array, mask: jax.Array, axis: int | None = None
) -> jax.Array:
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
  total = group_sum(values, group_ids, valid)
  return total / jnp.where(count > 0, count, 1.0)


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
  freedom = count - float(ddof)
  return jnp.sqrt(squares / jnp.where(freedom > 0, freedom, 1.0))


def largest(
  values: jax.Array, weights: jax.Array, budget: jax.Array
) -> jax.Array:
  """1 on the largest values until their weight reaches a budget, 0 elsewhere.

  A row that stands twice with half the weight is chosen as it would be once.
  Ties go to the lower flat index. Weights are added up in the type of
  `weights`: float32 counts tokens exactly up to 2 ** 24 of them.

  Args:
    values: f32[B, T].
    weights: f32[B, T], 0 on cells that cannot be chosen.
    budget: f32[], total weight to choose.

  Returns:
    f32[B, T] of zeros and ones.
  """
  chex.assert_equal_shape([values, weights])
  weights = weights.reshape(-1)
  ranked = jnp.where(weights > 0, values.reshape(-1), -jnp.inf)
  order = jnp.argsort(ranked, descending=True, stable=True)
  sorted_weights = weights[order]
  before = jnp.cumsum(sorted_weights) - sorted_weights
  chosen = (before < budget) & (sorted_weights > 0)
  flat = jnp.zeros_like(weights).at[order].set(chosen.astype(weights.dtype))
  return flat.reshape(values.shape)


def share(frac: float, count: jax.Array, *, up: bool = False) -> jax.Array:
  """A whole number of `count` things, at least 1: floor or ceil of frac * n.

  0.3 of ten is 3 in float32 too: products within 1e-6 of a whole number are
  taken for it.
  """
  exact = frac * count
  nearest = jnp.round(exact)
  close = jnp.abs(exact - nearest) <= 1e-6 * jnp.maximum(exact, 1.0)
  whole = jnp.ceil(exact) if up else jnp.floor(exact)
  return jnp.maximum(jnp.where(close, nearest, whole), 1.0)


def row_weights(mask: jax.Array) -> jax.Array:
  """Weight of each row, f32[B]: that of its tokens, 0 if it has none."""
  return jnp.max(mask, axis=1, initial=0.0)
