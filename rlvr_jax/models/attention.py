"""Attention of queries over their own keys and a prefix that rows share.

Shape letters: B rows, G prompts, T queries, S own keys, P prefix keys, N
query heads, K key/value heads, R = N / K queries per key head, Q = R * T, H
head width, n = B / G rows per prompt.
"""

import math

from flax import struct
import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import ops
from rlvr_jax.models import configs

# Finite, so that a query without any visible key gives a mean, not a NaN.
_MASKED = -1e30


@struct.dataclass
class KeyValues:
  """Keys (after rotation) and values of one layer, heads before positions.

  Keys lie transposed, as XLA:CPU wants them for the products of a decoding
  step, which meet them with a few queries.

  Attributes:
    keys: float[B, K, H, S].
    values: float[B, K, S, H].
  """

  keys: jax.Array
  values: jax.Array


def written(cache: KeyValues, new: KeyValues, index: jax.Array) -> KeyValues:
  """The cache with new keys and values in its slots from `index` on."""
  put = lambda old, new, at: lax.dynamic_update_slice(
    old, new.astype(old.dtype), at
  )
  return KeyValues(
    put(cache.keys, new.keys, (0, 0, 0, index)),
    put(cache.values, new.values, (0, 0, index, 0)),
  )


def rotary_angles(
  positions: jax.Array,
  head_dim: int,
  base: float,
  scaling: configs.RopeScaling | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Cosine and sine of the rotary angles, f32[B, T, H / 2] each.

  See "RoFormer", Su et al. (https://arxiv.org/abs/2104.09864), in the
  half-split layout of the Llama and Qwen checkpoints, and
  `configs.RopeScaling`.
  """
  half = head_dim // 2
  frequencies = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  if scaling:
    frequencies = _stretched(frequencies, base, scaling)
  angles = positions.astype(jnp.float32)[..., None] * frequencies[None, None]
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  if scaling and scaling.kind == "yarn":
    factor = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1.0
    cos, sin = factor * cos, factor * sin
  return _once(cos), _once(sin)


def _once(x: jax.Array) -> jax.Array:
  """x, computed once on a CPU too.

  XLA:CPU computes cosines and sines anew in every layer that reads them, but
  never repeats a product: one with the identity changes no bit of x.
  """
  identity = jnp.eye(x.shape[-1], dtype=x.dtype)
  kept = lambda x: jnp.dot(x, identity, precision=lax.Precision.HIGHEST)
  return lax.platform_dependent(x, cpu=kept, default=lambda x: x)


def _stretched(
  frequencies: jax.Array, base: float, scaling: configs.RopeScaling
) -> jax.Array:
  """Frequencies f32[H / 2] of a model made for longer texts."""
  slow = frequencies / scaling.factor
  if scaling.kind == "linear":
    return slow
  half, length = frequencies.shape[0], scaling.original_positions
  if scaling.kind == "llama3":
    rotations = length * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = jnp.clip((rotations - low) / (high - low), 0.0, 1.0)
  else:
    # The dimension that turns so many times over the first length.
    turning = lambda rotations: (
      half * math.log(length / (rotations * 2 * math.pi)) / math.log(base)
    )
    low = max(math.floor(turning(scaling.beta_fast)), 0)
    high = min(math.ceil(turning(scaling.beta_slow)), 2 * half - 1)
    # A ramp of no width is a step.
    width = high - low or 1e-3
    ramp = (jnp.arange(half, dtype=jnp.float32) - low) / width
    kept = 1.0 - jnp.clip(ramp, 0.0, 1.0)
  return (1.0 - kept) * slow + kept * frequencies


@jax.custom_vjp
def rotate(heads: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates float[B, T, N, H] by the angles of its positions, constants."""
  # The halves of one token are too small to matter, and its product is not.
  on_tpu = _rotated_by_product if heads.shape[1] > 1 else _rotated_by_halves
  return lax.platform_dependent(
    heads, *angles, tpu=on_tpu, default=_rotated_by_halves
  )


def _rotate_backward(angles, upstream):
  """A rotation's transpose is the rotation back."""
  cos, sin = angles
  return rotate(upstream, (cos, -sin)), jax.tree.map(jnp.zeros_like, angles)


rotate.defvjp(lambda heads, x: (rotate(heads, x), x), _rotate_backward)


def _rotated_by_halves(
  heads: jax.Array, cos: jax.Array, sin: jax.Array
) -> jax.Array:
  cos, sin = cos[:, :, None], sin[:, :, None]
  first, second = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
  rotated = jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )
  return rotated.astype(heads.dtype)


def _rotated_by_product(
  heads: jax.Array, cos: jax.Array, sin: jax.Array
) -> jax.Array:
  """The same where half a head is half a register.

  XLA:TPU would write the halves to memory and read them again. A product with
  a permutation swaps them on the way, and is exact: each sum has one term.
  """
  half = cos.shape[-1]
  swap = jnp.roll(jnp.eye(2 * half, dtype=heads.dtype), half, axis=1)
  swapped = jnp.einsum(
    "btnh,hk->btnk",
    heads,
    swap,
    precision=lax.Precision.HIGHEST,
    preferred_element_type=jnp.float32,
  )
  both = lambda a, b: jnp.concatenate([a, b], axis=-1)[:, :, None]
  rotated = heads.astype(jnp.float32) * both(cos, cos) + swapped * both(
    -sin, sin
  )
  return rotated.astype(heads.dtype)


def attend(
  queries: jax.Array,
  own: KeyValues,
  mask: jax.Array,
  prefix: KeyValues | None = None,
  prefix_mask: jax.Array | None = None,
) -> jax.Array:
  """Softmax attention over [shared prefix | own keys].

  The queries of all rows of a prompt meet its prefix in one matrix product;
  the two parts share one softmax, so the result is that of a plain attention
  over the concatenated keys.

  Args:
    queries: float[B, T, N, H], rotated.
    own: keys and values of the rows themselves.
    mask: bool, broadcastable to [B, T, S]; true where a query sees a key.
    prefix: keys and values of G prompts; row b has that of prompt
      b // (B // G).
    prefix_mask: bool[G, P], every query sees every true key; or
      bool[B, T, P], where a query sees one.

  Returns:
    float[B, T, N, H].
  """
  grouped = _group_queries(queries, kv_heads=own.keys.shape[1])
  repeats = grouped.shape[2] // queries.shape[1]
  by_head = lambda mask: jnp.tile(mask, (1, repeats, 1))[:, None]
  scores = _scores(grouped, own.keys, by_head(mask))
  peak = jnp.max(scores, axis=-1, keepdims=True)
  if prefix is not None:
    num_prompts, num_rows = prefix.keys.shape[0], grouped.shape[0]
    if prefix_mask.ndim == 2:
      seen = prefix_mask[:, None, None]
    else:
      seen = _fold(by_head(prefix_mask), num_prompts)
    prefix_scores = _scores(_fold(grouped, num_prompts), prefix.keys, seen)
    prefix_peak = jnp.max(prefix_scores, axis=-1, keepdims=True)
    peak = jnp.maximum(peak, _unfold(prefix_peak, num_rows))
  # Any common shift gives the same softmax: no gradient through the peak.
  peak = lax.stop_gradient(peak)
  total, mixed = _mix(scores, peak, own.values)
  if prefix is not None:
    parts = _mix(prefix_scores, _fold(peak, num_prompts), prefix.values)
    total += _unfold(parts[0], num_rows)
    mixed += _unfold(parts[1], num_rows)
  return _ungroup_queries((mixed / total).astype(queries.dtype), queries.shape)


def has_kernel(
  queries: jax.Array, own: KeyValues, partition: ops.Partition | None
) -> bool:
  """Whether the backend's own kernel is to attend, by `attend_in_order`."""
  kernel = ops.suitable_attention(queries.swapaxes(1, 2), own.values, partition)
  return kernel is not None


def attend_in_order(
  queries: jax.Array,
  own: KeyValues,
  is_real: jax.Array,
  prefix: KeyValues | None,
  *,
  window: int = 0,
  partition: ops.Partition | None = None,
) -> jax.Array:
  """The same over [prefix | own] in the order of a text, by such a kernel.

  Each row gets a copy of its prefix: with as many queries the products take
  the time, not the reading of keys.

  Args:
    queries: float[B, T, N, H], rotated.
    own: keys and values of the T tokens.
    is_real: bool[B, P + T]; a query sees real tokens up to its own.
    prefix: keys and values of G prompts of P tokens, as of `attend`.
    window: tokens that a query sees, itself included; 0 for all.
    partition: how rows and heads lie on a mesh.

  Returns:
    float[B, T, N, H].
  """
  keys, values = own.keys, own.values
  if prefix is not None:
    repeat = keys.shape[0] // prefix.keys.shape[0]
    joined = lambda before, own, axis: jnp.concatenate(
      [jnp.repeat(before, repeat, axis=0), own], axis=axis
    )
    keys = joined(prefix.keys, keys, 3)
    values = joined(prefix.values, values, 2)
  mixed = ops.causal_attention(
    queries.swapaxes(1, 2),
    keys.swapaxes(2, 3),
    values,
    is_real,
    window=window,
    partition=partition,
  )
  return mixed.swapaxes(1, 2)


def _group_queries(queries: jax.Array, kv_heads: int) -> jax.Array:
  """[B, T, N, H] -> [B, K, Q, H], scaled.

  XLA:CPU has a fast kernel for plain batched matrix products of this layout,
  and none for an einsum with a fifth index for the repeats.
  """
  rows, positions, num_heads, head_dim = queries.shape
  scaled = queries * jnp.asarray(head_dim**-0.5, queries.dtype)
  split = scaled.reshape(rows, positions, kv_heads, -1, head_dim)
  return split.transpose(0, 2, 3, 1, 4).reshape(rows, kv_heads, -1, head_dim)


def _ungroup_queries(mixed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """[B, K, Q, H] -> [B, T, N, H]."""
  rows, positions, _, head_dim = shape
  split = mixed.reshape(rows, mixed.shape[1], -1, positions, head_dim)
  return split.transpose(0, 3, 1, 2, 4).reshape(shape)


def _fold(x: jax.Array, num_prompts: int) -> jax.Array:
  """[B, K, Q, x] -> [G, K, n Q, x]: the rows of a prompt, end to end."""
  rows, kv_heads, _, last = x.shape
  split = x.reshape(num_prompts, rows // num_prompts, kv_heads, -1, last)
  return split.swapaxes(1, 2).reshape(num_prompts, kv_heads, -1, last)


def _unfold(x: jax.Array, num_rows: int) -> jax.Array:
  """[G, K, n Q, x] -> [B, K, Q, x]."""
  num_prompts, kv_heads, _, last = x.shape
  split = x.reshape(num_prompts, kv_heads, num_rows // num_prompts, -1, last)
  return split.swapaxes(1, 2).reshape(num_rows, kv_heads, -1, last)


def _scores(queries: jax.Array, keys: jax.Array, mask: jax.Array) -> jax.Array:
  """Masked scores f32[B, K, Q, S]."""
  scores = jnp.einsum(
    "bkqh,bkhs->bkqs", queries, keys, preferred_element_type=jnp.float32
  )
  return jnp.where(mask, scores, _MASKED)


def _mix(
  scores: jax.Array, peak: jax.Array, values: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Total weight f32[B, K, Q, 1] and weighted values f32[B, K, Q, H]."""
  weights = jnp.exp(scores - peak)
  mixed = jnp.einsum(
    "bkqs,bksh->bkqh",
    weights.astype(values.dtype),
    values,
    preferred_element_type=jnp.float32,
  )
  return jnp.sum(weights, axis=-1, keepdims=True), mixed
