"""Small models and batches that the tests share."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import records
from rlvr_jax.models import configs
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import scoring

PAD, EOS = 0, 1


def floats(values) -> jax.Array:
  """As float32."""
  return jnp.asarray(values, jnp.float32)


def tiny_config(**changes) -> configs.ModelConfig:
  """A decoder of a few thousand parameters with grouped heads."""
  settings = {
    "vocab_size": 11,
    "num_layers": 2,
    "width": 16,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 4,
    "mlp_width": 24,
    # Large, so that random logits differ clearly.
    "init_std": 0.4,
  }
  return configs.ModelConfig(**(settings | changes))


@functools.cache
def tiny_model(**changes):
  """A transformer and its unboxed parameters."""
  config = tiny_config(**changes)
  init = lambda: nn.unbox(transformer.init_params(config, jax.random.key(0)))
  return transformer.Transformer(config), jax.jit(init)()


@functools.partial(jax.jit, static_argnums=0)
def hidden_states(model, params, tokens: jax.Array) -> jax.Array:
  """One causal pass over whole rows, float[B, T, D]."""
  length = tokens.shape[1]
  return model.apply(
    {"params": params},
    tokens,
    jnp.broadcast_to(jnp.arange(length), tokens.shape),
  )[0]


@functools.partial(jax.jit, static_argnums=0, static_argnames="temperature")
def score(model, params, prompts, completion_tokens, temperature=1.0):
  """Compiled `scoring.score_completions`."""
  return scoring.score_completions(
    model, params, prompts, completion_tokens, temperature=temperature
  )


def prompt_batch(
  num_prompts: int, length: int, vocab_size: int = 11, seed: int = 0
) -> records.PromptBatch:
  """Random prompts of random lengths, left-padded."""
  rng = np.random.default_rng(seed)
  lengths = rng.integers(1, length + 1, num_prompts)
  lengths[0] = length
  mask = np.arange(length)[None] >= length - lengths[:, None]
  tokens = rng.integers(2, vocab_size, (num_prompts, length))
  return records.PromptBatch(
    prompt_tokens=jnp.asarray(np.where(mask, tokens, PAD), jnp.int32),
    prompt_mask=jnp.asarray(mask, jnp.float32),
    prompt_ids=jnp.asarray(rng.permutation(100)[:num_prompts], jnp.int32),
    answers={},
  )


def rollout_batch(
  num_prompts: int = 4,
  samples: int = 2,
  prompt_length: int = 5,
  length: int = 6,
  vocab_size: int = 11,
  seed: int = 0,
) -> records.RolloutBatch:
  """Random judged completions of random lengths; every group is mixed."""
  rng = np.random.default_rng(seed + 1)
  num_rows = num_prompts * samples
  lengths = rng.integers(1, length + 1, num_rows)
  mask = np.arange(length)[None] < lengths[:, None]
  tokens = rng.integers(2, vocab_size, (num_rows, length))
  correct = np.arange(num_rows) % samples == 0
  noise = lambda: jnp.asarray(
    np.where(mask, -rng.random((num_rows, length)), 0.0), jnp.float32
  )
  as_float = lambda x: jnp.asarray(x, jnp.float32)
  return records.RolloutBatch(
    prompts=prompt_batch(num_prompts, prompt_length, vocab_size, seed),
    completion_tokens=jnp.asarray(np.where(mask, tokens, PAD), jnp.int32),
    completion_mask=as_float(mask),
    group_ids=jnp.asarray(np.arange(num_rows) // samples, jnp.int32),
    sample_index=jnp.asarray(np.arange(num_rows) % samples, jnp.int32),
    valid=jnp.ones(num_rows, jnp.float32),
    finished=as_float(lengths < length),
    decode_steps=jnp.full(num_rows, float(length)),
    sampler_logprobs=noise(),
    log_kept_mass=jnp.zeros((num_rows, length), jnp.float32),
    frozen_entropies=-noise(),
    frozen_mean_logprobs=noise(),
    rewards=as_float(correct),
    is_correct=as_float(correct),
    outcomes=jnp.asarray(~correct, jnp.int32),
  )


def train_state(params, optimizer) -> records.TrainState:
  """A state at step 0 and seed 0 around given parameters."""
  return records.TrainState(
    step=jnp.zeros((), jnp.int32),
    seed=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=optimizer.init(params),
  )


def low_first_token_outcomes(*, completion_tokens: jax.Array) -> jax.Array:
  """A verifier that about half of any completions satisfy, easy to learn."""
  return (completion_tokens[:, 0] >= 16).astype(jnp.int32)


def mean_logprob(*, logprobs, completion_mask) -> jax.Array:
  """A loss per response: minus the mean log-probability of its tokens."""
  lengths = jnp.maximum(jnp.sum(completion_mask, axis=1), 1.0)
  return -jnp.sum(logprobs * completion_mask, axis=1) / lengths
