"""Prompts, read once: what every completion of a prompt starts from."""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import records
from rlvr_jax.models import transformer


@struct.dataclass
class Prefix:
  """State of the model after each of G prompts.

  Attributes:
    cache: keys and values of the prompts, per layer.
    mask: bool[G, P], real prompt tokens.
    lengths: i32[G], their number: the position of the first completion token.
    last_hidden: float[G, D], predicts the first completion token.
    mean_hidden: f32[G, D], mean over all real prompt tokens, the last
      included: the prompt embedding.
  """

  cache: Any
  mask: jax.Array
  lengths: jax.Array
  last_hidden: jax.Array
  mean_hidden: jax.Array


def read_prompts(
  model: transformer.Transformer, params: Any, prompts: records.PromptBatch
) -> Prefix:
  """Runs the model over left-padded prompts."""
  mask = prompts.prompt_mask > 0
  lengths = jnp.sum(mask, axis=1, dtype=jnp.int32)
  positions = jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1
  num_positions = mask.shape[1]
  causal = jnp.tril(jnp.ones((num_positions, num_positions), bool))
  hidden, cache = model.apply(
    {"params": params},
    prompts.prompt_tokens,
    # Pads sit before position 0; no real token ever sees them.
    jnp.maximum(positions, 0),
    causal[None] & mask[:, None, :],
  )
  real = jnp.where(mask[:, :, None], hidden.astype(jnp.float32), 0.0)
  mean_hidden = jnp.sum(real, axis=1) / jnp.maximum(lengths, 1)[:, None].astype(
    jnp.float32
  )
  return Prefix(cache, mask, lengths, hidden[:, -1], mean_hidden)
