"""Sampling completions: prompts read once, then a compiled decoding loop."""

from collections.abc import Sequence
import dataclasses
from typing import Any

from flax import struct
import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import keys as keys_lib
from rlvr_jax import records
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import prefix as prefix_lib
from rlvr_jax.rollouts import sampling


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
  """How completions are drawn.

  Example: SamplerConfig(num_generations=8, completion_tokens=20).
  """

  # Completions of each prompt.
  num_generations: int
  # Length of the completion bucket, the end token included.
  completion_tokens: int
  # Divides the logits; 0 takes the most likely token.
  temperature: float = 1.0
  # Keep the k most likely tokens; 0 keeps all.
  top_k: int = 0
  # Keep the smallest set of tokens that holds this probability mass.
  top_p: float = 1.0
  # Keep tokens at least this fraction as likely as the most likely one.
  min_p: float = 0.0


@struct.dataclass
class _Loop:
  """Carry of the decoding loop; `draws` are filled column by column."""

  step: jax.Array
  hidden: jax.Array
  cache: Any
  done: jax.Array
  mask: jax.Array
  draws: sampling.Draw


def generate(
  model: transformer.Transformer,
  params: Any,
  prompts: records.PromptBatch,
  key: jax.Array,
  *,
  config: SamplerConfig,
  stop_ids: Sequence[int],
  pad_id: int,
  temperature: jax.Array | float | None = None,
  logit_bias: jax.Array | None = None,
) -> records.RolloutBatch:
  """Samples `num_generations` completions of every prompt.

  A draw is a function of (key, prompt id, sample index, position): neither
  the other rows of the batch nor its layout change it.

  Args:
    model: the transformer.
    params: its parameters.
    prompts: G prompts.
    key: key of this step, from `keys.stream_key`.
    config: lengths and truncation; static.
    stop_ids: every token that ends a completion.
    pad_id: what fills the rest of a row.
    temperature: overrides the configured one, f32[] or f32[B]; 0 is greedy.
    logit_bias: f32[V], added to the logits before the temperature divides
      them: -100 suppresses a token. All log-probabilities are then those of
      the biased policy, so such rollouts are to be looked at, not trained on.

  Returns:
    RolloutBatch with B = G * num_generations rows, prompt-major.
  """
  if temperature is None:
    temperature = config.temperature
  samples, capacity = config.num_generations, config.completion_tokens
  prefix = prefix_lib.read_prompts(model, params, prompts)
  num_rows = prefix.lengths.shape[0] * samples
  repeat = lambda x: jnp.repeat(x, samples, axis=0)
  group_ids = repeat(jnp.arange(prefix.lengths.shape[0], dtype=jnp.int32))
  sample_index = jnp.arange(num_rows, dtype=jnp.int32) % samples
  uniforms = keys_lib.position_uniforms(
    keys_lib.row_keys(key, repeat(prompts.prompt_ids), sample_index), capacity
  )
  starts = repeat(prefix.lengths)
  stops = jnp.asarray(stop_ids, jnp.int32)
  slots = jnp.arange(capacity)
  unembedding = model.apply({"params": params}, method="unembedding")
  bias = 0.0 if logit_bias is None else logit_bias[None]

  def not_done(loop: _Loop) -> jax.Array:
    return (loop.step < capacity) & ~jnp.all(loop.done)

  def decode(loop: _Loop) -> _Loop:
    step = loop.step
    drawn = sampling.draw(
      jnp.dot(loop.hidden, unembedding, preferred_element_type=jnp.float32)
      + bias,
      lax.dynamic_index_in_dim(uniforms, step, axis=1, keepdims=False),
      temperature=temperature,
      top_k=config.top_k,
      top_p=config.top_p,
      min_p=config.min_p,
    )
    write = lambda columns, column: lax.dynamic_update_slice(
      columns, column[:, None].astype(columns.dtype), (0, step)
    )
    hidden, cache = model.apply(
      {"params": params},
      drawn.tokens[:, None],
      (starts + step)[:, None],
      (slots <= step)[None, None],
      prefix=prefix.cache,
      prefix_mask=prefix.mask,
      cache=loop.cache,
      index=step,
    )
    return _Loop(
      step=step + 1,
      hidden=hidden[:, 0],
      cache=cache,
      done=loop.done | jnp.isin(drawn.tokens, stops),
      mask=write(loop.mask, ~loop.done),
      draws=jax.tree.map(write, loop.draws, drawn),
    )

  zeros = jnp.zeros((num_rows, capacity), jnp.float32)
  loop = lax.while_loop(
    not_done,
    decode,
    _Loop(
      step=jnp.zeros((), jnp.int32),
      hidden=repeat(prefix.last_hidden),
      cache=transformer.empty_cache(model.config, num_rows, capacity),
      done=jnp.zeros(num_rows, bool),
      mask=zeros,
      draws=sampling.Draw(zeros.astype(jnp.int32), zeros, zeros, zeros, zeros),
    ),
  )
  inside = loop.mask > 0
  outside_zero = lambda x: jnp.where(inside, x, 0.0)
  return records.RolloutBatch(
    prompts=prompts,
    completion_tokens=jnp.where(inside, loop.draws.tokens, pad_id),
    completion_mask=loop.mask,
    group_ids=group_ids,
    sample_index=sample_index,
    valid=jnp.ones(num_rows, jnp.float32),
    finished=loop.done.astype(jnp.float32),
    sampler_logprobs=outside_zero(loop.draws.logprobs),
    log_kept_mass=outside_zero(loop.draws.log_kept_mass),
    frozen_entropies=outside_zero(loop.draws.entropies),
    frozen_mean_logprobs=outside_zero(loop.draws.mean_logprobs),
  )
