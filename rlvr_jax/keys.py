"""Random numbers as a function of where they are used, never of when.

A draw depends on (run seed, stream, step, prompt id, sample index, position).
So the same rollouts come out for every batch layout and device count, and a
resumed run needs no stored key.
"""

import chex
import jax
import jax.numpy as jnp

# Streams keep uses of the same (seed, step) apart. Append only: the position
# is part of every draw.
STREAMS = (
  "init",
  "select",
  "sample",
  "evaluate",
  "warm_start_order",
  "warm_start_draw",
  "credit",
  "explore",
  "probe",
  "partition_noise",
)


def stream_key(
  seed: jax.Array | int, stream: str, step: jax.Array | int = 0
) -> jax.Array:
  """Key of one stream at one step; scalar typed key."""
  key = jax.random.fold_in(jax.random.key(seed), STREAMS.index(stream))
  return jax.random.fold_in(key, step)


def row_keys(
  key: jax.Array, prompt_ids: jax.Array, sample_index: jax.Array
) -> jax.Array:
  """One key per rollout, key[B], from prompt ids and sample numbers i32[B]."""
  chex.assert_rank([prompt_ids, sample_index], 1)
  fold = lambda prompt, sample: jax.random.fold_in(
    jax.random.fold_in(key, prompt), sample
  )
  return jax.vmap(fold)(prompt_ids, sample_index)


def prompt_uniforms(key: jax.Array, prompt_ids: jax.Array) -> jax.Array:
  """Uniforms in [0, 1), f32[G]: each depends on the key and its prompt id."""
  fold = lambda prompt: jax.random.uniform(jax.random.fold_in(key, prompt))
  return jax.vmap(fold)(prompt_ids)


def prompt_normals(key: jax.Array, prompt_ids: jax.Array) -> jax.Array:
  """Standard normal numbers, f32[G], drawn likewise."""
  fold = lambda prompt: jax.random.normal(jax.random.fold_in(key, prompt))
  return jax.vmap(fold)(prompt_ids)


def position_uniforms(keys: jax.Array, num_positions: int) -> jax.Array:
  """Uniforms in [0, 1), f32[B, T]: entry (b, t) depends on keys[b] and t."""
  draw = lambda key, position: jax.random.uniform(
    jax.random.fold_in(key, position)
  )
  positions = jnp.arange(num_positions)
  return jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(keys, positions)
