"""What the queries of each layer see: masks, places and rotations."""

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax.models import attention
from rlvr_jax.models import configs


@struct.dataclass
class View:
  """What the queries of a layer see.

  Attributes:
    angles: of the queries' and own keys' rotation, f32[B, T, H / 2] twice.
    mask: bool, broadcastable to [B, T, S], over own keys.
    prefix_mask: bool[G, P] or bool[B, T, P], over a shared prefix.
    is_real: bool[B, P + T], tokens of prefix and own, where each query sees
      those up to its own; None where own keys lie in a cache.
    window: tokens that a query sees; 0 for all.
  """

  angles: tuple[jax.Array, jax.Array]
  mask: jax.Array
  prefix_mask: jax.Array | None
  is_real: jax.Array | None
  window: int = struct.field(pytree_node=False, default=0)


def of_layers(
  config: configs.ModelConfig,
  positions: jax.Array,
  mask: jax.Array | None,
  prefix_mask: jax.Array | None = None,
  index: jax.Array | int | None = None,
) -> tuple[View, View | None]:
  """What full layers see, and sliding ones where there are such.

  Args:
    config: says which layers slide.
    positions: i32[B, T], the token's place in its row.
    mask: without a cache bool[B, T], real tokens, None for all of them; with
      one bool, broadcastable to [B, T, S], the slots that each query sees.
    prefix_mask: bool[G, P], real tokens of prompts.
    index: the cache slot of the first query; None without a cache.
  """
  is_real = None
  if index is None:
    index = 0
    own = jnp.ones(positions.shape, bool) if mask is None else mask
    places = jnp.arange(positions.shape[1])
    mask = (places[:, None] >= places[None])[None] & own[:, None]
    is_real = own
    if prefix_mask is not None:
      before = _each_row(prefix_mask, positions.shape[0])
      is_real = jnp.concatenate([before, own], axis=1)
  angles = lambda scaling: attention.rotary_angles(
    positions, config.head_dim, config.rope_base, scaling
  )
  full = View(angles(config.rope_scaling), mask, prefix_mask, is_real)
  if not config.sliding_layers:
    return full, None
  # Distances within a row are those of slots: pads lie before all tokens.
  queries = index + jnp.arange(positions.shape[1])
  capacity = mask.shape[2]
  near = (queries[:, None] - jnp.arange(capacity)[None]) % capacity
  near_own = mask & (near < config.sliding_window)[None]
  seen = near_prefix = None
  if prefix_mask is not None:
    seen, near_prefix = _near_prefix(
      positions, prefix_mask, config.sliding_window
    )
  scaling = config.rope_scaling if config.scales_sliding_rope else None
  sliding = View(
    angles(scaling),
    near_own,
    near_prefix,
    is_real,
    config.sliding_window,
  )
  # Of one shape, so that a scanned layer can choose between them.
  mask = jnp.broadcast_to(mask, near_own.shape)
  return full.replace(mask=mask, prefix_mask=seen), sliding


def _each_row(of_prompts: jax.Array, num_rows: int) -> jax.Array:
  """What prompts have, [G, ...], for each of their rows in turn."""
  return jnp.repeat(of_prompts, num_rows // of_prompts.shape[0], axis=0)


def _near_prefix(positions, prefix_mask, window):
  """bool[B, T, P] twice: a prompt's tokens, and those within the window."""
  places = jnp.cumsum(prefix_mask, axis=1) - 1
  rows = lambda x: _each_row(x, positions.shape[0])[:, None]
  distance = positions[:, :, None] - rows(places)
  seen = jnp.broadcast_to(rows(prefix_mask), distance.shape)
  return seen, seen & (distance < window)
