"""The optimizer step: credit, loss, gradient and update in one function."""

import dataclasses
import functools

import jax
from jax import lax
import jax.numpy as jnp
import optax

from rlvr_jax import credit
from rlvr_jax import keys
from rlvr_jax import objective as objective_lib
from rlvr_jax import parts as parts_lib
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
  old_logprobs are the live ones under stop-gradient; with more, or if credit
  reads them, they are scored by a pass of their own before the first.

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
  forward = functools.partial(_score, model, temperature)
  named = objective_lib.needed_fields(method)
  fields = records.fields(rollouts) | {"step": state.step}
  if "token_uniforms" in named:
    fields["token_uniforms"] = _token_uniforms(state, fields)
  batch = parts_lib.Part(rollouts.prompts, rollouts.completion_tokens, fields)
  micro = config.num_micro_batches * config.num_minibatches
  if "ref_logprobs" in named:
    scores = _in_parts(forward, state.ref_params, batch, micro)
    batch.fields["ref_logprobs"] = scores.logprobs
  if config.num_minibatches > 1 or credit.needs_old_logprobs(method):
    scores = _in_parts(forward, state.params, batch, micro)
    batch.fields["old_logprobs"] = scores.logprobs
  batch = batch.replace(fields=credit.assign_credit(method, batch.fields))

  def update(carry, part: parts_lib.Part):
    params, opt_state = carry
    grads, measured = _gradient(
      params, part, forward, method, config.num_micro_batches
    )
    updates, opt_state = optimizer.update(grads, opt_state, params)
    measured |= {"policy/grad_norm": optax.tree.norm(grads)}
    return (optax.apply_updates(params, updates), opt_state), measured

  carry = (state.params, state.opt_state)
  if config.num_minibatches == 1:
    (params, opt_state), metrics = update(carry, batch)
  else:
    parts = parts_lib.split(batch, config.num_minibatches)
    (params, opt_state), measured = lax.scan(update, carry, parts)
    metrics = jax.tree.map(jnp.mean, measured)
  return (
    state.replace(step=state.step + 1, params=params, opt_state=opt_state),
    metrics,
  )


def _token_uniforms(state: records.TrainState, fields: Fields) -> jax.Array:
  """Random numbers by prompt, sample and position, f32[B, T]."""
  key = keys.stream_key(state.seed, "credit", state.step)
  row_keys = keys.row_keys(key, fields["prompt_ids"], fields["sample_index"])
  return keys.position_uniforms(row_keys, fields["completion_mask"].shape[1])


def _score(
  model, temperature, params, part: parts_lib.Part
) -> scoring.TokenScores:
  return scoring.score_completions(
    model,
    params,
    part.prompts,
    part.completion_tokens,
    temperature=temperature,
  )


def _in_parts(forward, params, batch: parts_lib.Part, num_parts: int):
  """A forward pass outside of the gradient, a part of the batch at a time."""
  if num_parts == 1:
    return forward(params, batch)
  scores = lax.map(
    lambda part: forward(params, part), parts_lib.split(batch, num_parts)
  )
  num_prompts = batch.prompts.prompt_ids.shape[0]
  return jax.tree.map(lambda x: parts_lib.joined_rows(x, num_prompts), scores)


def _gradient(params, part: parts_lib.Part, forward, method, num_micro_batches):
  """Gradient of the loss of one update, summed over its micro-batches."""

  def live_fields(scores: scoring.TokenScores, fields: Fields) -> Fields:
    frozen = lax.stop_gradient(scores.logprobs)
    return {"old_logprobs": frozen} | fields | vars(scores)

  def loss(params, part: parts_lib.Part, denominators):
    fields = live_fields(forward(params, part), part.fields)
    if denominators is None:
      fields = credit.refine_credit(method, fields)
      denominators = credit.counts(method, fields)
    value, terms = credit.loss_and_terms(method, fields, denominators)
    return value, (value, terms, policy.token_means(fields))

  gradient = jax.grad(loss, has_aux=True)
  if num_micro_batches == 1:
    grads, aux = gradient(params, part, None)
  else:
    fields = part.fields
    if credit.is_refined(method):
      # Statistics of the current policy are those of the whole update.
      scores = _in_parts(forward, params, part, num_micro_batches)
      fields = credit.refine_credit(method, live_fields(scores, fields))
      part = part.replace(fields=fields)
    denominators = credit.counts(method, fields)
    parts = parts_lib.split(part, num_micro_batches)
    shapes = jax.eval_shape(
      lambda: gradient(
        params, jax.tree.map(lambda x: x[0], parts), denominators
      )
    )
    (grads, aux), _ = lax.scan(
      lambda total, part: (
        jax.tree.map(jnp.add, total, gradient(params, part, denominators)),
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
