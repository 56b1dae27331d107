"""From logits to a token, and what the draw says of the policy."""

import chex
from flax import struct
import jax
import jax.numpy as jnp


@struct.dataclass
class Draw:
  """One token per row.

  Attributes:
    tokens: i32[B].
    logprobs: f32[B], nats, under the distribution drawn from: after
      temperature and truncation. 0 for a greedy draw.
    log_kept_mass: f32[B], log of the probability kept by truncation, so that
      logprobs + log_kept_mass is the log-probability at the temperature alone
      (at temperature 1 for a greedy draw).
    entropies: f32[B], nats, full vocabulary, before truncation.
    mean_logprobs: f32[B], mean over the vocabulary, before truncation.
  """

  tokens: jax.Array
  logprobs: jax.Array
  log_kept_mass: jax.Array
  entropies: jax.Array
  mean_logprobs: jax.Array


def draw(
  logits: jax.Array,
  uniforms: jax.Array,
  *,
  temperature: jax.Array | float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
  min_p: float = 0.0,
) -> Draw:
  """Draws by inverting the cumulative distribution at one uniform a row.

  One random number a row instead of V Gumbel draws; the token is a function
  of (logits, uniform) alone.

  Args:
    logits: float[B, V].
    uniforms: f32[B] in [0, 1).
    temperature: divides the logits, f32[] or f32[B]; 0 takes the most likely
      token. Traced, so that one program serves sampling and greedy decoding.
    top_k: keep the k most likely tokens; 0 keeps all.
    top_p: keep the smallest set of most likely tokens that holds this mass.
    min_p: keep tokens at least this fraction as likely as the most likely.

  Returns:
    The Draw.
  """
  chex.assert_rank([logits, uniforms], [2, 1])
  temperature = jnp.broadcast_to(
    jnp.asarray(temperature, jnp.float32), uniforms.shape
  )[:, None]
  greedy = temperature == 0
  log_probs = jax.nn.log_softmax(
    logits.astype(jnp.float32) / jnp.where(greedy, 1.0, temperature)
  )
  kept = _kept(log_probs, top_k, top_p, min_p)
  vocab = jnp.arange(log_probs.shape[1])
  best = vocab[None] == jnp.argmax(log_probs, axis=1)[:, None]
  kept = jnp.where(greedy, best, kept)
  probs = jnp.where(kept, jnp.exp(log_probs), 0.0)
  # A parallel sum is not monotone to the last bit: where nothing is kept the
  # cumulative mass counts as 0, so such a token can never be the first above.
  cumulative = jnp.where(probs > 0, jnp.cumsum(probs, axis=1), 0.0)
  mass = jnp.max(cumulative, axis=1)
  tokens = jnp.argmax(cumulative > (uniforms * mass)[:, None], axis=1)
  tokens = tokens.astype(jnp.int32)
  chosen = vocab[None] == tokens[:, None]
  log_kept_mass = jnp.where(
    jnp.all(kept, axis=1), 0.0, jnp.log(jnp.sum(probs, axis=1))
  )
  untruncated = jnp.sum(jnp.where(chosen, log_probs, 0.0), axis=1)
  plogp = jnp.where(log_probs > -jnp.inf, jnp.exp(log_probs) * log_probs, 0.0)
  return Draw(
    tokens=tokens,
    # Rounding may put a token that is alone a hair above certainty.
    logprobs=jnp.minimum(untruncated - log_kept_mass, 0.0),
    log_kept_mass=log_kept_mass,
    entropies=-jnp.sum(plogp, axis=1),
    mean_logprobs=jnp.mean(log_probs, axis=1),
  )


def _kept(
  log_probs: jax.Array, top_k: int, top_p: float, min_p: float
) -> jax.Array:
  """bool[B, V], tokens that survive all truncations; never empty."""
  kept = jnp.ones(log_probs.shape, bool)
  if top_k:
    floor = jax.lax.top_k(log_probs, top_k)[0][:, -1:]
    kept &= log_probs >= floor
  if top_p < 1:
    order = jnp.argsort(-log_probs, axis=1)
    ranked = jnp.exp(jnp.take_along_axis(log_probs, order, axis=1))
    # Kept while the mass before a token is short of top_p: the token that
    # crosses the line stays, so the set is never empty.
    before = jnp.cumsum(ranked, axis=1) - ranked
    rank = jnp.argsort(order, axis=1)
    kept &= jnp.take_along_axis(before < top_p, rank, axis=1)
  if min_p > 0:
    peak = jnp.max(log_probs, axis=1, keepdims=True)
    kept &= log_probs >= peak + jnp.log(min_p)
  return kept
