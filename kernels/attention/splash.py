"""Causal attention by JAX's splash kernel for TPUs (Pallas, Mosaic)."""

import jax
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as kernel_lib,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_mask as mask_lib,
)
import jax.numpy as jnp

# The kernel's tiles: lengths are padded to whole ones.
_TILE = 128
# Largest blocks of queries and keys. # ours
_BLOCK = 512


def suits(queries: jax.Array) -> bool:
  """Whether the kernel takes such arrays."""
  types = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32))
  return queries.dtype in types and queries.shape[3] % 64 == 0


def attention(
  queries: jax.Array,
  keys: jax.Array,
  values: jax.Array,
  is_real: jax.Array,
  window: int,
  interpret: bool = False,
) -> jax.Array:
  """See `causal_attention`; `interpret` runs on any backend, slowly."""
  _, num_heads, num_queries, head_dim = queries.shape
  offset = keys.shape[2] - num_queries
  # Appended queries see themselves, so that nothing of theirs is NaN.
  padded_queries = _whole_tiles(num_queries)
  padded_keys = _whole_tiles(offset + padded_queries)
  shape = (padded_queries, padded_keys)
  mask = mask_lib.CausalMask(shape, offset)
  if window:
    mask = mask_lib.LocalMask(shape, (window - 1, 0), offset)
  kernel = kernel_lib.make_splash_mha_single_device(
    mask_lib.MultiHeadMask([mask] * num_heads),
    block_sizes=_block_sizes(padded_queries, padded_keys),
    interpret=interpret,
  )
  pad = lambda x, size: jnp.pad(
    x, [(0, 0), (0, 0), (0, size - x.shape[2]), (0, 0)]
  )
  # Real tokens see real ones alone, and others such others.
  real = jnp.pad(is_real, [(0, 0), (0, padded_keys - is_real.shape[1])])
  kinds = real.astype(jnp.int32)
  of_queries = kinds[:, offset : offset + padded_queries]
  scaled = queries * jnp.asarray(head_dim**-0.5, queries.dtype)
  mixed = jax.vmap(kernel)(
    pad(scaled, padded_queries),
    pad(keys, padded_keys),
    pad(values, padded_keys),
    kernel_lib.SegmentIds(of_queries, kinds),
  )
  return mixed[:, :, :num_queries]


def _whole_tiles(length: int) -> int:
  return -(-length // _TILE) * _TILE


def _block_sizes(num_queries: int, num_keys: int) -> kernel_lib.BlockSizes:
  """The largest blocks that divide the lengths, forward and back."""
  largest = lambda length: max(
    size for size in range(_TILE, _BLOCK + 1, _TILE) if length % size == 0
  )
  rows, columns = largest(num_queries), largest(num_keys)
  return kernel_lib.BlockSizes(
    block_q=rows,
    block_kv=columns,
    block_q_dkv=rows,
    block_kv_dkv=columns,
    block_q_dq=rows,
    block_kv_dq=columns,
  )
