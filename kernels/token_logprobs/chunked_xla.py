"""Token statistics in chunks of rows, forward and backward, in plain JAX.

No more than f32[chunk, V] of logits exists at a time: the backward pass
recomputes them from the hidden states. With p the softmax of the scaled
logits, H its entropy, and upstream gradients a, b, c of the three outputs,

  d/d logits = a (onehot - p) - b p (log p + H) + c (1 / V - p).
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

# Rows whose logits fill about 32 MiB: large enough for full matmul speed,
# small beside the activations of the rows themselves. # ours
_CHUNK_LOGITS = 8 * 2**20


def _chunks(num_rows: int, vocab_size: int) -> int:
  rows = max(1, _CHUNK_LOGITS // vocab_size)
  return -(-num_rows // rows)


def _split(array: jax.Array, num_chunks: int) -> jax.Array:
  """[N, ...] -> [num_chunks, rows, ...], zero rows appended as needed."""
  rows = -(-array.shape[0] // num_chunks)
  pad = [(0, num_chunks * rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
  return jnp.pad(array, pad).reshape(num_chunks, rows, *array.shape[1:])


def _log_probs(hidden, unembedding, temperature):
  # Accumulated in float32 whatever the type of the operands.
  logits = jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)
  logits = logits / temperature
  return logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)


def _is_target(targets, vocab_size):
  return targets[:, None] == jnp.arange(vocab_size)[None]


def _forward_chunk(hidden, unembedding, targets, temperature):
  log_probs = _log_probs(hidden, unembedding, temperature)
  chosen = _is_target(targets, log_probs.shape[1])
  # A vocabulary entry of probability 0 has no entropy: 0 * -inf is not 0.
  plogp = jnp.where(log_probs > -jnp.inf, jnp.exp(log_probs) * log_probs, 0.0)
  return (
    jnp.sum(jnp.where(chosen, log_probs, 0.0), axis=1),
    -jnp.sum(plogp, axis=1),
    jnp.mean(log_probs, axis=1),
  )


@jax.custom_vjp
def token_logprobs(
  hidden: jax.Array,
  unembedding: jax.Array,
  targets: jax.Array,
  temperature: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """See `kernels.token_logprobs.token_logprobs`."""
  num_rows, vocab_size = hidden.shape[0], unembedding.shape[1]
  num_chunks = _chunks(num_rows, vocab_size)
  if num_chunks <= 1:
    return _forward_chunk(hidden, unembedding, targets, temperature)
  run = lambda args: _forward_chunk(args[0], unembedding, args[1], temperature)
  out = lax.map(run, (_split(hidden, num_chunks), _split(targets, num_chunks)))
  return jax.tree.map(lambda x: x.reshape(-1)[:num_rows], out)


def _forward(hidden, unembedding, targets, temperature):
  out = token_logprobs(hidden, unembedding, targets, temperature)
  return out, (hidden, unembedding, targets, temperature, out[1])


def _backward_chunk(unembedding, temperature, chunk):
  hidden, targets, entropies, d_logprobs, d_entropies, d_means = chunk
  log_probs = _log_probs(hidden, unembedding, temperature)
  probs = jnp.exp(log_probs)
  vocab_size = unembedding.shape[1]
  surprise = jnp.where(probs > 0, log_probs, 0.0) + entropies[:, None]
  d_logits = (
    jnp.where(_is_target(targets, vocab_size), d_logprobs[:, None], 0.0)
    + (d_means / vocab_size)[:, None]
    - probs
    * ((d_logprobs + d_means)[:, None] + d_entropies[:, None] * surprise)
  )
  d_logits = (d_logits / temperature).astype(hidden.dtype)
  d_hidden = jnp.dot(d_logits, unembedding.T).astype(hidden.dtype)
  d_unembedding = jnp.dot(
    hidden.T, d_logits, preferred_element_type=jnp.float32
  )
  return d_hidden, d_unembedding


def _backward(saved, upstream):
  hidden, unembedding, targets, temperature, entropies = saved
  num_rows = hidden.shape[0]
  num_chunks = _chunks(num_rows, unembedding.shape[1])
  rows = (hidden, targets, entropies, *upstream)
  backward = functools.partial(_backward_chunk, unembedding, temperature)
  if num_chunks <= 1:
    d_hidden, d_unembedding = backward(rows)
  else:

    def add(total, chunk):
      d_hidden, d_unembedding = backward(chunk)
      return total + d_unembedding, d_hidden

    d_unembedding, d_hidden = lax.scan(
      add,
      jnp.zeros(unembedding.shape, jnp.float32),
      tuple(_split(array, num_chunks) for array in rows),
    )
    d_hidden = d_hidden.reshape(-1, hidden.shape[1])[:num_rows]
  return d_hidden, d_unembedding.astype(unembedding.dtype), None, None


token_logprobs.defvjp(_forward, _backward)
