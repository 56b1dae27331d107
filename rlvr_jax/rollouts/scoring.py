"""Log-probabilities and entropies of given completions under given weights."""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import ops
from rlvr_jax import records
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix as prefix_lib

# Of the attention kernels, in tokens.
_TILE = 128


@struct.dataclass
class TokenScores:
  """What one forward pass says of each completion token, in nats.

  Attributes:
    logprobs: f32[B, T], of the tokens taken.
    entropies: f32[B, T], over the full vocabulary.
    mean_logprobs: f32[B, T], mean over the vocabulary.
    embeddings: f32[G, D], of the prompts, as `prefix.pooled` makes them.
    support_logprobs: f32[B, T, K], of candidate tokens, where asked for.
  """

  logprobs: jax.Array
  entropies: jax.Array
  mean_logprobs: jax.Array
  embeddings: jax.Array
  support_logprobs: jax.Array | None = None


def score_completions(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  completion_tokens: jax.Array,
  *,
  temperature: float = 1.0,
  pooling: str = "mean",
  support_ids: jax.Array | None = None,
  full_support: bool = False,
) -> TokenScores:
  """Scores completions; each prompt is read once for all of its rows.

  Differentiable in params. Cells beyond a row's end hold numbers of pads:
  mask them before use.

  Args:
    model: the transformer.
    params: its parameters.
    prompts: G prompts.
    completion_tokens: i32[B, T], row b continues prompt b // (B // G).
    temperature: the one that the sampler used, so that both sides speak of
      the same distribution.
    pooling: of the prompts' embeddings, see `prefix.pooled`.
    support_ids: i32[B, T, K], candidate tokens to score in each place.
    full_support: score all V tokens in each place.

  Returns:
    TokenScores.
  """
  hidden, prefix = _hidden(model, params, prompts, completion_tokens, pooling)
  unembedding = model.apply({"params": params}, method="unembedding")
  flat = lambda x: x.reshape(-1, *x.shape[2:])
  scores = ops.token_logprobs(
    flat(hidden),
    unembedding,
    completion_tokens.reshape(-1),
    temperature=temperature,
    partition=model.partition,
  )
  by_row = lambda x: x.reshape(*completion_tokens.shape, *x.shape[1:])
  support = None
  if full_support or support_ids is not None:
    support = ops.candidate_logprobs(
      flat(hidden),
      unembedding,
      None if full_support else flat(support_ids),
      temperature=temperature,
    )
    support = by_row(support)
  return TokenScores(
    logprobs=by_row(scores.logprobs),
    entropies=by_row(scores.entropies),
    mean_logprobs=by_row(scores.mean_logprobs),
    embeddings=prefix.embeddings,
    support_logprobs=support,
  )


def likeliest_tokens(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  completion_tokens: jax.Array,
  num_tokens: int,
) -> jax.Array:
  """The policy's K likeliest tokens in each place of given completions.

  Args:
    model: the transformer.
    params: its parameters.
    prompts: G prompts.
    completion_tokens: i32[B, T], row b continues prompt b // (B // G).
    num_tokens: K.

  Returns:
    i32[B, T, K], the likeliest first.
  """
  hidden, _ = _hidden(model, params, prompts, completion_tokens, "mean")
  ids = ops.top_tokens(
    hidden.reshape(-1, hidden.shape[-1]),
    model.apply({"params": params}, method="unembedding"),
    num_tokens,
  )
  return ids.reshape(*completion_tokens.shape, num_tokens)


def _hidden(
  model, params, prompts, completion_tokens, pooling
) -> tuple[jax.Array, prefix_lib.Prefix]:
  """Hidden states float[B, T, D] that predict each completion token."""
  prefix = prefix_lib.read_prompts(model, params, prompts, pooling=pooling)
  num_rows, num_tokens = completion_tokens.shape
  repeat = num_rows // prefix.lengths.shape[0]
  # The last prompt token predicts the first completion token, and the last
  # completion token predicts nothing that is scored. Still one is always read,
  # and all are where they make whole tiles, which kernels would pad to.
  num_read = num_tokens - 1 if num_tokens % _TILE else num_tokens
  inputs = completion_tokens[:, : max(num_read, 1)]
  steps = jnp.arange(inputs.shape[1])
  positions = jnp.repeat(prefix.lengths, repeat)[:, None] + steps[None]
  hidden, _ = model.apply(
    {"params": params},
    inputs,
    positions,
    prefix=prefix.cache,
    prefix_mask=prefix.mask,
  )
  first = jnp.repeat(prefix.last_hidden, repeat, axis=0)[:, None]
  return jnp.concatenate([first, hidden], axis=1)[:, :num_tokens], prefix
