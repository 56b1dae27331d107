"""From logits to a token, and what the draw says of the policy."""

import chex
from flax import struct
import jax
import jax.numpy as jnp

# Vocabularies up to this size are searched at once, larger ones by blocks.
# ours
_ONE_BLOCK = 512
_BLOCK = 128
_BELOW_ONE = 1.0 - 2.0**-24


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
  )
  greedy = temperature == 0
  scaled = logits.astype(jnp.float32)
  scaled /= jnp.where(greedy, 1.0, temperature)[:, None]
  blocks = _blocks(scaled)
  peaks = jnp.max(blocks, axis=2)
  peak = jnp.max(peaks, axis=1)
  shifted = blocks - peak[:, None, None]
  weights = jnp.exp(shifted)
  masses = jnp.sum(weights, axis=2)
  log_mass = jnp.log(jnp.sum(masses, axis=1))
  # A vocabulary entry of probability 0 has no entropy: 0 * -inf is not 0.
  surprise = jnp.sum(
    jnp.where(weights > 0, weights * shifted, 0.0), axis=(1, 2)
  )
  entropies = log_mass - surprise / jnp.sum(masses, axis=1)
  log_normalizers = peak + log_mass
  mean_logprobs = jnp.mean(scaled, axis=1) - log_normalizers

  log_kept_mass = jnp.zeros_like(peak)
  if top_k or top_p < 1 or min_p > 0:
    kept = _kept(scaled, log_normalizers, top_k, top_p, min_p)
    weights = jnp.where(_blocks(kept), weights, 0.0)
    masses = jnp.sum(weights, axis=2)
    log_kept_mass = jnp.log(jnp.sum(masses, axis=1)) - log_mass
    log_kept_mass = jnp.where(jnp.all(kept, axis=1), 0.0, log_kept_mass)

  drawn = _drawn(weights, masses, uniforms)
  tokens = jnp.where(greedy, _likeliest(blocks, peaks), drawn)
  logprobs = _row(scaled, tokens) - log_normalizers
  log_kept_mass = jnp.where(greedy, logprobs, log_kept_mass)
  return Draw(
    tokens=tokens,
    # Rounding may put a token that is alone a hair above certainty.
    logprobs=jnp.minimum(logprobs - log_kept_mass, 0.0),
    log_kept_mass=log_kept_mass,
    entropies=entropies,
    mean_logprobs=mean_logprobs,
  )


def _blocks(x: jax.Array) -> jax.Array:
  """[B, V] -> [B, blocks, width]; entries that fill the last are impossible.

  A search in two levels reads V numbers twice or thrice instead of sorting or
  summing them up one after another.
  """
  rows, vocab_size = x.shape
  width = vocab_size if vocab_size <= _ONE_BLOCK else _BLOCK
  padding = -vocab_size % width
  if padding:
    nothing = False if x.dtype == bool else -jnp.inf
    x = jnp.pad(x, ((0, 0), (0, padding)), constant_values=nothing)
  return x.reshape(rows, -1, width)


def _drawn(
  weights: jax.Array, masses: jax.Array, uniforms: jax.Array
) -> jax.Array:
  """Tokens i32[B] in proportion to weights f32[B, blocks, width]."""
  if weights.shape[1] == 1:
    return _inverted(weights[:, 0], uniforms)[0]
  block, inside = _inverted(masses, uniforms)
  entry, _ = _inverted(_row(weights, block), inside)
  return block * weights.shape[2] + entry


def _likeliest(blocks: jax.Array, peaks: jax.Array) -> jax.Array:
  """Tokens i32[B] with the largest of f32[B, blocks, width]; ties: the first.

  `peaks` f32[B, blocks] are the largest of each block.
  """
  block = jnp.argmax(peaks, axis=1).astype(jnp.int32)
  entry = jnp.argmax(_row(blocks, block), axis=1).astype(jnp.int32)
  return block * blocks.shape[2] + entry


def _row(x: jax.Array, index: jax.Array) -> jax.Array:
  """x[b, index[b]] for every b."""
  index = index.reshape(-1, *(1,) * (x.ndim - 1))
  return jnp.take_along_axis(x, index, axis=1)[:, 0]


def _inverted(
  weights: jax.Array, uniforms: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Where the cumulative weight passes a share of the whole.

  Args:
    weights: f32[B, n], not negative, some of them positive.
    uniforms: f32[B] in [0, 1), the shares.

  Returns:
    i32[B], never an entry of weight 0; and how far into that entry the share
    reaches, f32[B] in [0, 1): a uniform for a draw within it.
  """
  # A parallel sum is not monotone to the last bit: where nothing is added the
  # cumulative weight counts as 0, so such an entry can never be the first.
  cumulative = jnp.where(weights > 0, jnp.cumsum(weights, axis=1), 0.0)
  share = uniforms * jnp.max(cumulative, axis=1)
  index = jnp.argmax(cumulative > share[:, None], axis=1).astype(jnp.int32)
  own = _row(weights, index)
  inside = 1.0 - (_row(cumulative, index) - share) / own
  return index, jnp.clip(inside, 0.0, _BELOW_ONE)


def _kept(
  scaled: jax.Array,
  log_normalizers: jax.Array,
  top_k: int,
  top_p: float,
  min_p: float,
) -> jax.Array:
  """bool[B, V], tokens that survive all truncations; never empty.

  Tokens at the edge are compared as `scaled`, which a compiler rounds alike
  wherever it computes it; a difference of two numbers it does not.
  """
  kept = jnp.ones(scaled.shape, bool)
  if top_k:
    floor = jax.lax.top_k(scaled, top_k)[0][:, -1:]
    kept &= scaled >= floor
  if top_p < 1:
    order = jnp.argsort(-scaled, axis=1)
    log_probs = scaled - log_normalizers[:, None]
    ranked = jnp.exp(jnp.take_along_axis(log_probs, order, axis=1))
    # Kept while the mass before a token is short of top_p: the token that
    # crosses the line stays, so the set is never empty.
    before = jnp.cumsum(ranked, axis=1) - ranked
    rank = jnp.argsort(order, axis=1)
    kept &= jnp.take_along_axis(before < top_p, rank, axis=1)
  if min_p > 0:
    peak = jnp.max(scaled, axis=1, keepdims=True)
    kept &= scaled >= peak + jnp.log(min_p)
  return kept
