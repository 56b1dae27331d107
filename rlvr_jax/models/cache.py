"""Keys and values of what has been decoded: made, taken apart, grown."""

from typing import Any

import jax
import jax.numpy as jnp

from rlvr_jax.models import attention
from rlvr_jax.models import configs

# Per layer, or one KeyValues whose leading axis is the layer when scanned.
Cache = Any


def empty(config: configs.ModelConfig, num_rows: int, capacity: int) -> Cache:
  """Zeroed keys and values for decoding `capacity` tokens in each row."""
  layers = (config.num_layers,) if config.scan_layers else ()
  rows = (*layers, num_rows, config.num_kv_heads)
  layer = attention.KeyValues(
    jnp.zeros((*rows, config.head_dim, capacity), config.dtype),
    jnp.zeros((*rows, capacity, config.head_dim), config.dtype),
  )
  return layer if config.scan_layers else (layer,) * config.num_layers


def rows_of(
  config: configs.ModelConfig, cache: Cache, rows: jax.Array
) -> Cache:
  """The cache of some of its rows, i32[n]."""
  axis = 1 if config.scan_layers else 0
  return jax.tree.map(lambda x: jnp.take(x, rows, axis=axis), cache)


def grown(cache: Cache, capacity: int) -> Cache:
  """The cache with empty slots behind its own, up to a larger capacity."""

  def larger(layer: attention.KeyValues) -> attention.KeyValues:
    more = capacity - layer.values.shape[-2]
    before = [(0, 0)] * (layer.values.ndim - 2)
    return attention.KeyValues(
      jnp.pad(layer.keys, [*before, (0, 0), (0, more)]),
      jnp.pad(layer.values, [*before, (0, more), (0, 0)]),
    )

  is_layer = lambda x: isinstance(x, attention.KeyValues)
  return jax.tree.map(larger, cache, is_leaf=is_layer)
