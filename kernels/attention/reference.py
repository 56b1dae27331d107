"""Causal attention with all scores at once: the definition."""

import jax
import jax.numpy as jnp


def attention(
  queries: jax.Array,
  keys: jax.Array,
  values: jax.Array,
  is_real: jax.Array,
  window: int,
) -> jax.Array:
  """See `causal_attention`."""
  repeats = queries.shape[1] // keys.shape[1]
  of_head = lambda x: jnp.repeat(x, repeats, axis=1)
  exactly = dict(preferred_element_type=jnp.float32)
  scores = jnp.einsum("bnth,bnsh->bnts", queries, of_head(keys), **exactly)
  mask = seen(is_real, queries.shape[2], window)[:, None]
  weights = jax.nn.softmax(
    # Finite, so that a query that sees nothing gives a mean, not a NaN.
    jnp.where(mask, scores / queries.shape[3] ** 0.5, -1e30)
  )
  mixed = jnp.einsum(
    "bnts,bnsh->bnth", weights.astype(values.dtype), of_head(values), **exactly
  )
  return mixed.astype(queries.dtype)


def seen(is_real: jax.Array, num_queries: int, window: int) -> jax.Array:
  """Which of S tokens the last T see, bool[B, T, S]."""
  places = jnp.arange(is_real.shape[1])
  back = places[-num_queries:, None] - places[None]
  near = (back >= 0) & (back < window) if window else back >= 0
  return near[None] & is_real[:, None]
