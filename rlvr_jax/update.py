"""The optimizer step: credit, loss, gradient and update in one function."""

import dataclasses

from flax import struct
import jax
from jax import lax
import jax.numpy as jnp
import optax

from rlvr_jax import credit
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax.metrics import policy
from rlvr_jax.models import transformer
from rlvr_jax.rollouts import scoring

Fields = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class UpdateConfig:
  """How a rollout batch becomes optimizer updates."""

  # Optimizer updates per rollout batch, each on its own share of the prompts.
  num_minibatches: int = 1
  # Forward and backward passes per update; less memory, the same numbers.
  num_micro_batches: int = 1


@struct.dataclass
class _Part:
  """A share of a batch: prompts, their completions, and all array fields."""

  prompts: records.PromptBatch
  completion_tokens: jax.Array
  fields: Fields


def train_step(
  state: records.TrainState,
  rollouts: records.RolloutBatch,
  *,
  model: transformer.Transformer,
  method: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  config: UpdateConfig,
  temperature: float = 1.0,
) -> tuple[records.TrainState, dict[str, jax.Array]]:
  """One rollout batch: credit once, then one or more optimizer updates.

  Pure. With a single update the policy has not moved since the rollout, so
  old_logprobs are the live ones under stop-gradient; with more they are scored
  by a pass of their own before the first.

  Args:
    state: before; donate it when compiling.
    rollouts: judged.
    model: the transformer.
    method: the bound objective.
    optimizer: of state.params.
    config: how the batch is split.
    temperature: the sampler's.

  Returns:
    The state after, and metrics by name, f32[] each.
  """
  fields = records.fields(rollouts)
  tokens = fields.pop("completion_tokens")
  if config.num_minibatches > 1:
    scores = scoring.score_completions(
      model, state.params, rollouts.prompts, tokens, temperature=temperature
    )
    fields["old_logprobs"] = lax.stop_gradient(scores.logprobs)
  fields = credit.assign_credit(method, fields)
  batch = _Part(rollouts.prompts, tokens, fields)

  def update(carry, part: _Part):
    params, opt_state = carry
    grads, measured = _gradient(
      params, part, model, method, config.num_micro_batches, temperature
    )
    updates, opt_state = optimizer.update(grads, opt_state, params)
    measured |= {"policy/grad_norm": optax.tree.norm(grads)}
    return (optax.apply_updates(params, updates), opt_state), measured

  carry = (state.params, state.opt_state)
  if config.num_minibatches == 1:
    (params, opt_state), metrics = update(carry, batch)
  else:
    parts = _split(batch, config.num_minibatches)
    (params, opt_state), measured = lax.scan(update, carry, parts)
    metrics = jax.tree.map(jnp.mean, measured)
  return (
    state.replace(step=state.step + 1, params=params, opt_state=opt_state),
    metrics,
  )


def _gradient(params, part, model, method, num_micro_batches, temperature):
  """Gradient of the loss of one update, summed over its micro-batches."""
  denominators = credit.counts(method, part.fields)

  def loss(params, part: _Part):
    scores = scoring.score_completions(
      model,
      params,
      part.prompts,
      part.completion_tokens,
      temperature=temperature,
    )
    fields = part.fields | {
      "logprobs": scores.logprobs,
      "entropies": scores.entropies,
      "mean_logprobs": scores.mean_logprobs,
    }
    if "old_logprobs" not in fields:
      fields["old_logprobs"] = lax.stop_gradient(scores.logprobs)
    value, terms = credit.loss_and_terms(method, fields, denominators)
    return value, (value, terms, policy.token_means(fields))

  gradient = jax.grad(loss, has_aux=True)
  if num_micro_batches == 1:
    grads, aux = gradient(params, part)
  else:
    parts = _split(part, num_micro_batches)
    shapes = jax.eval_shape(
      lambda: gradient(params, jax.tree.map(lambda x: x[0], parts))
    )
    (grads, aux), _ = lax.scan(
      lambda total, part: (
        jax.tree.map(jnp.add, total, gradient(params, part)),
        None,
      ),
      jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes),
      parts,
    )
  value, terms, means = aux
  measured = {"policy/loss": value}
  measured |= {
    f"policy/{name}_loss": mean.value()
    for name, mean in terms.items()
    if name != "policy"
  }
  measured |= {f"policy/{name}": mean.value() for name, mean in means.items()}
  return grads, measured


def _split(part: _Part, num_parts: int) -> _Part:
  """[G, ...] and [B, ...] -> [num_parts, ...]; prompts stay with their rows.

  Part i takes every num_parts-th prompt, so that each part is spread over all
  devices as the whole was. More parts than prompts share a prompt's rows out.
  """
  num_prompts = part.prompts.prompt_ids.shape[0]
  samples = part.completion_tokens.shape[0] // num_prompts
  groups = min(num_parts, num_prompts)
  shares = num_parts // groups

  def split_prompts(x):
    x = x.reshape(num_prompts // groups, groups, *x.shape[1:]).swapaxes(0, 1)
    return jnp.repeat(x, shares, axis=0)

  def split_rows(x):
    x = x.reshape(
      num_prompts // groups, groups, shares, samples // shares, *x.shape[1:]
    )
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(num_parts, -1, *x.shape[4:])

  return _Part(
    prompts=jax.tree.map(split_prompts, part.prompts),
    completion_tokens=split_rows(part.completion_tokens),
    fields=jax.tree.map(split_rows, part.fields),
  )


def splits_evenly(num_parts: int, num_prompts: int, samples: int) -> bool:
  """Whether a batch of num_prompts * samples rows has so many equal parts."""
  if num_parts <= num_prompts:
    return num_prompts % num_parts == 0
  return (
    num_parts % num_prompts == 0 and samples % (num_parts // num_prompts) == 0
  )
