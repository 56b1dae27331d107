"""Prompts, read once: what every completion of a prompt starts from."""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.models import transformer

POOLINGS = ("mean", "mean_but_last")


@struct.dataclass
class Prefix:
  """State of the model after each of G prompts.

  Attributes:
    cache: keys and values of the prompts, per layer.
    mask: bool[G, P], real prompt tokens.
    lengths: i32[G], their number: the position of the first completion token.
    last_hidden: float[G, D], predicts the first completion token.
    embeddings: f32[G, D], mean of the hidden states over the prompt's tokens.
  """

  cache: Any
  mask: jax.Array
  lengths: jax.Array
  last_hidden: jax.Array
  embeddings: jax.Array


def read_prompts(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  *,
  pooling: str = "mean",
) -> Prefix:
  """Runs the model over left-padded prompts; `pooling` as in `pooled`."""
  mask = prompts.prompt_mask > 0
  lengths = jnp.sum(mask, axis=1, dtype=jnp.int32)
  positions = jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1
  hidden, cache = model.apply(
    {"params": params},
    prompts.prompt_tokens,
    # Pads sit before position 0; no real token ever sees them.
    jnp.maximum(positions, 0),
    mask,
  )
  embeddings = pooled(hidden, prompts.prompt_mask, pooling)
  return Prefix(cache, mask, lengths, hidden[:, -1], embeddings)


def pooled(
  hidden: jax.Array, prompt_mask: jax.Array, pooling: str = "mean"
) -> jax.Array:
  """Prompt embeddings: the mean of hidden states over real tokens.

  Args:
    hidden: float[G, P, D], left-padded.
    prompt_mask: f32[G, P].
    pooling: "mean" over all real tokens, or "mean_but_last", which leaves the
      last one out as FlowRL's code does by an off-by-one slice [code:
      Xuekai-Zhu/FlowRL, verl-project/verl-recipe].

  Returns:
    f32[G, D].
  """
  settings.require(
    pooling in POOLINGS,
    f"pooling is {pooling!r}: {names.did_you_mean(pooling, POOLINGS)}",
  )
  mask = prompt_mask > 0
  if pooling == "mean_but_last":
    mask = mask.at[:, -1].set(False)
  real = jnp.where(mask[:, :, None], hidden.astype(jnp.float32), 0.0)
  lengths = jnp.sum(mask, axis=1, dtype=jnp.float32)
  return jnp.sum(real, axis=1) / jnp.maximum(lengths, 1.0)[:, None]
