"""Keys and values of what has been decoded: made, taken apart, grown."""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax.models import attention
from rlvr_jax.models import configs

# Of each layer. Of scanned layers there is none, see `transformer.unrolled`.
Cache = tuple[attention.KeyValues, ...]


def empty(config: configs.ModelConfig, num_rows: int, capacity: int) -> Cache:
  """Zeroed keys and values for decoding `capacity` tokens in each row.

  Raises:
    ValueError: if layers are scanned.
  """
  if config.scan_layers:
    raise ValueError(
      "scan_layers is True, with which each step would copy the whole cache:"
      " decode with transformer.unrolled(model, params)"
    )
  rows = (num_rows, config.num_kv_heads)
  layer = attention.KeyValues(
    jnp.zeros((*rows, config.head_dim, capacity), config.dtype),
    jnp.zeros((*rows, capacity, config.head_dim), config.dtype),
  )
  return (layer,) * config.num_layers


def rows_of(cache: Cache, rows: jax.Array) -> Cache:
  """The cache of some of its rows, i32[n]."""
  return jax.tree.map(lambda x: jnp.take(x, rows, axis=0), cache)


def with_rows(
  cache: Cache, others: Cache, rows: jax.Array, chosen: jax.Array
) -> Cache:
  """The cache with rows of another in place of some of its own.

  One after another, so that a loop which replaces few moves no more than them.

  Args:
    cache: of B rows.
    others: of any number of rows.
    rows: i32[B], what of the others is to come.
    chosen: bool[B], where.
  """

  def put(state):
    left, cache = state
    i = jnp.argmax(left)
    write = lambda x, other: lax.dynamic_update_slice_in_dim(
      x, lax.dynamic_slice_in_dim(other, rows[i], 1), i, axis=0
    )
    return left.at[i].set(False), jax.tree.map(write, cache, others)

  state = lax.while_loop(lambda state: jnp.any(state[0]), put, (chosen, cache))
  return state[1]


def grown(cache: Cache, capacity: int) -> Cache:
  """The cache with empty slots behind its own, up to a larger capacity."""
  more = (0, capacity - cache[0].values.shape[2])
  add = lambda x, axis: jnp.pad(
    x, [more if i == axis else (0, 0) for i in range(x.ndim)]
  )
  return tuple(
    attention.KeyValues(add(x.keys, 3), add(x.values, 2)) for x in cache
  )
