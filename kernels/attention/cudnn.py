"""Causal attention by cuDNN.

Its kernels know causality, but not of queries that begin behind other keys, nor
of tokens that are not real. So tokens that are not real go to the end, where
none sees them, and queries that nobody asked for stand before the others. Where
those would be many more than were asked for, a mask says what is seen. Numbers
of queries and keys have to be even for gradients.
"""

import jax
import jax.numpy as jnp

from rlvr_jax.kernels.attention import reference

# Keys of a query, at most, for which all queries attend: they then have twice
# the scores of those asked for, and no mask to read. # ours
_MOST_KEYS = 4


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
  attends_whole = keys.shape[2] <= _MOST_KEYS * queries.shape[2]
  attend = _in_order if attends_whole else _masked
  return attend(queries, keys, values, is_real, window)


def _in_order(queries, keys, values, is_real, window: int) -> jax.Array:
  """With real tokens first: half of all S x S scores, and no mask."""
  num_keys = keys.shape[2]
  offset, odd = num_keys - queries.shape[2], num_keys % 2
  is_real = jnp.pad(is_real, ((0, 0), (0, odd)))
  order = jnp.argsort(~is_real, axis=1, stable=True)
  places = jnp.argsort(order, axis=1)
  in_order = lambda x, before: _taken(
    jnp.pad(x.swapaxes(1, 2), ((0, 0), (before, odd), (0, 0), (0, 0))),
    order,
    places,
  )
  mixed = jax.nn.dot_product_attention(
    in_order(queries, offset),
    in_order(keys, 0),
    in_order(values, 0),
    is_causal=True,
    local_window_size=(window - 1, 0) if window else None,
    implementation="cudnn",
  )
  return _taken(mixed, places, order)[:, offset:num_keys].swapaxes(1, 2)


@jax.custom_vjp
def _taken(x: jax.Array, order: jax.Array, places: jax.Array) -> jax.Array:
  """Tokens [B, S, ...] in an order i32[B, S], of which `places` is the inverse.

  The gradient goes back by the inverse: the compiler would scatter it.
  """
  return jnp.take_along_axis(x, order[..., None, None], axis=1)


_taken.defvjp(
  lambda x, order, places: (_taken(x, order, places), (order, places)),
  lambda saved, upstream: (_taken(upstream, *saved[::-1]), None, None),
)


def _masked(queries, keys, values, is_real, window: int) -> jax.Array:
  """With all T x S scores, and a mask that all heads share."""
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
