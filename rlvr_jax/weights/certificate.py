"""What a model says of fixed tokens: proof that a conversion changed nothing.

Logits come out by the two ways that training uses: one pass over whole rows,
and prompts read once with tokens decoded one by one behind them.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.models import cache as cache_lib
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix as prefix_lib

_PROMPT_TOKENS, _COMPLETION_TOKENS = 24, 8
# Odd lengths and one full bucket: pads before most prompts.
_LENGTHS = (24, 17, 9, 1)


class Tokens(NamedTuple):
  """Fixed prompts with what follows them.

  Attributes:
    prompts: PromptBatch with B prompts, left-padded.
    completions: i32[B, T].
  """

  prompts: records.PromptBatch
  completions: jax.Array


def fixed_tokens(vocab_size: int) -> Tokens:
  """The same tokens for every model of that vocabulary."""
  rng = np.random.default_rng(0)
  shape = (len(_LENGTHS), _PROMPT_TOKENS)
  mask = np.arange(shape[1])[None] >= shape[1] - np.array(_LENGTHS)[:, None]
  tokens = np.where(mask, rng.integers(0, vocab_size, shape), 0)
  completions = rng.integers(0, vocab_size, (shape[0], _COMPLETION_TOKENS))
  return Tokens(
    records.PromptBatch(
      prompt_tokens=jnp.asarray(tokens, jnp.int32),
      prompt_mask=jnp.asarray(mask, jnp.float32),
      prompt_ids=jnp.arange(shape[0], dtype=jnp.int32),
      answers={},
    ),
    jnp.asarray(completions, jnp.int32),
  )


@functools.partial(jax.jit, static_argnums=0)
def logits_of_rows(
  model: transformer.Transformer, params: Any, tokens: jax.Array
) -> jax.Array:
  """Logits f32[B, T, V] of one pass over i32[B, T] without padding."""
  length = tokens.shape[1]
  hidden, _ = model.apply(
    {"params": params},
    tokens,
    jnp.broadcast_to(jnp.arange(length), tokens.shape),
  )
  return _logits(model, params, hidden)


@functools.partial(jax.jit, static_argnums=0)
def logits_by_decoding(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  completions: jax.Array,
) -> jax.Array:
  """Logits f32[B, T + 1, V] behind each prompt: read once, then by tokens."""
  model, params = transformer.unrolled(model, params)
  prefix = prefix_lib.read_prompts(model, params, prompts)
  rows, length = completions.shape
  slots = jnp.arange(length)

  def decode(cache, step):
    hidden, cache = model.apply(
      {"params": params},
      jax.lax.dynamic_slice(completions, (0, step), (rows, 1)),
      (prefix.lengths + step)[:, None],
      (slots <= step)[None, None],
      prefix=prefix.cache,
      prefix_mask=prefix.mask,
      cache=cache,
      index=step,
    )
    return cache, hidden[:, 0]

  cache = cache_lib.empty(model.config, rows, length)
  _, hidden = jax.lax.scan(decode, cache, slots)
  hidden = jnp.concatenate([prefix.last_hidden[None], hidden])
  return _logits(model, params, hidden.swapaxes(0, 1))


def _logits(model, params, hidden) -> jax.Array:
  unembedding = model.apply({"params": params}, method="unembedding")
  return jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)


def difference(
  model: transformer.Transformer, params: Any, others: Any
) -> float:
  """Largest difference of two models' logits on the fixed tokens."""
  tokens = fixed_tokens(model.config.vocab_size)
  one, other = (logits_by_decoding(model, x, *tokens) for x in (params, others))
  return float(jnp.max(jnp.abs(one - other)))


def against_transformers(
  folder: pathlib.Path, model: transformer.Transformer, params: Any
) -> dict[str, float]:
  """Largest differences from what `transformers` makes of a folder.

  Args:
    folder: of a Hugging Face checkpoint.
    model: ours, of float32 activations.
    params: read from the folder, float32.

  Returns:
    "full": over a pass without padding; "decode": over left-padded prompts
    and the tokens decoded behind them; "largest_logit": for scale.

  Raises:
    errors.UserError: if `transformers` or torch is not installed.
  """
  try:
    import torch
    import transformers
  except ImportError as error:
    raise errors.UserError(
      f"a check compares with transformers, and {error.name} is not installed:"
      " pip install transformers torch"
    ) from error
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32, attn_implementation="eager"
  ).eval()
  tokens = fixed_tokens(model.config.vocab_size)
  want = torch_logits(theirs, *tokens)
  # The first prompt fills its bucket: a row without pads.
  row = [tokens.prompts.prompt_tokens[:1], tokens.completions[:1]]
  full = logits_of_rows(model, params, jnp.concatenate(row, axis=1))
  decoded = logits_by_decoding(model, params, *tokens)
  behind = want[:, _PROMPT_TOKENS - 1 :]
  return {
    "full": float(np.abs(full - want[:1]).max()),
    "decode": float(np.abs(decoded - behind).max()),
    "largest_logit": float(np.abs(behind).max()),
  }


def torch_logits(
  model: Any, prompts: records.PromptBatch, completions: Any
) -> np.ndarray:
  """Logits f32[B, P + T, V] of a torch model's pass over whole rows."""
  import torch

  rows = np.asarray(completions)
  mask = np.concatenate([prompts.prompt_mask, np.ones(rows.shape)], axis=1)
  tokens = np.concatenate([prompts.prompt_tokens, rows], axis=1)
  positions = np.maximum(mask.cumsum(axis=1) - 1, 0)
  as_long = lambda x: torch.tensor(np.asarray(x)).long()
  with torch.no_grad():
    return model(
      as_long(tokens),
      attention_mask=as_long(mask),
      position_ids=as_long(positions),
    ).logits.numpy()
