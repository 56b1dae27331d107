"""Log-probabilities of candidate tokens, and which tokens are candidates.

What a distillation loss needs of two policies, in chunks of rows: no more than
f32[chunk, V] of logits exists at a time, also on the way back. With all V
tokens as candidates the result itself is f32[N, V].
"""

import chex
import jax
from jax import lax
import jax.numpy as jnp

# Rows whose logits fill about 32 MiB. # ours
_CHUNK_LOGITS = 8 * 2**20


def candidate_logprobs(
  hidden: jax.Array,
  unembedding: jax.Array,
  candidates: jax.Array | None = None,
  *,
  temperature: float | jax.Array = 1.0,
) -> jax.Array:
  """log softmax(hidden @ unembedding / temperature) at some tokens per row.

  Differentiable in hidden and unembedding.

  Args:
    hidden: float[N, D], after the final norm.
    unembedding: float[D, V].
    candidates: i32[N, K], token ids; None takes the whole vocabulary, K = V.
    temperature: above 0.

  Returns:
    f32[N, K], nats, normalised over the whole vocabulary.
  """
  chex.assert_rank([hidden, unembedding], 2)

  def chunk(rows):
    log_probs = jax.nn.log_softmax(_logits(rows[0], unembedding, temperature))
    if candidates is None:
      return log_probs
    return jnp.take_along_axis(log_probs, rows[1], axis=1)

  return _by_chunks(chunk, (hidden, candidates), unembedding.shape[1])


def top_tokens(
  hidden: jax.Array, unembedding: jax.Array, num_tokens: int
) -> jax.Array:
  """The most likely tokens of each row, the likeliest first.

  Args:
    hidden: float[N, D].
    unembedding: float[D, V].
    num_tokens: K, at most V.

  Returns:
    i32[N, K]; ties go to the smaller id.
  """
  chunk = lambda rows: lax.top_k(_logits(rows[0], unembedding, 1.0), num_tokens)
  return _by_chunks(
    lambda rows: chunk(rows)[1], (hidden, None), unembedding.shape[1]
  )


def _logits(hidden, unembedding, temperature) -> jax.Array:
  logits = jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)
  return logits / temperature


def _by_chunks(function, rows, vocab_size: int) -> jax.Array:
  """Applies a function of rows a chunk at a time, recomputed backwards."""
  num_rows = rows[0].shape[0]
  num_chunks = -(-num_rows // max(1, _CHUNK_LOGITS // vocab_size))
  if num_chunks <= 1:
    return function(rows)
  size = -(-num_rows // num_chunks)

  def split(x: jax.Array) -> jax.Array:
    padding = [(0, num_chunks * size - num_rows)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding).reshape(num_chunks, size, *x.shape[1:])

  found = lax.map(jax.checkpoint(function), jax.tree.map(split, rows))
  return found.reshape(-1, found.shape[-1])[:num_rows]
