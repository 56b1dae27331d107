"""Causal attention by cuDNN.

Its kernels know causality, but not of queries that begin behind other keys, nor
of pads in front: both are in the mask, which all heads share.
"""

import jax
import jax.numpy as jnp

from rlvr_jax.kernels.attention import reference


def suits(queries: jax.Array) -> bool:
  """Whether cuDNN takes such arrays."""
  return (
    queries.dtype in (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16))
    and queries.shape[3] % 8 == 0
    and queries.shape[3] <= 128
  )


def attention(
  queries: jax.Array,
  keys: jax.Array,
  values: jax.Array,
  is_real: jax.Array,
  window: int,
) -> jax.Array:
  """See `causal_attention`."""
  # With a mask it wants even numbers of queries and keys.
  even = lambda x, *axes: jnp.pad(
    x, [(0, n % 2 if axis in axes else 0) for axis, n in enumerate(x.shape)]
  )
  positions_first = lambda x: even(x, 2).swapaxes(1, 2)
  mask = reference.seen(is_real, queries.shape[2], window)
  mixed = jax.nn.dot_product_attention(
    *map(positions_first, (queries, keys, values)),
    mask=even(mask, 1, 2)[:, None],
    implementation="cudnn",
  )
  return mixed.swapaxes(1, 2)[:, :, : queries.shape[2]]
