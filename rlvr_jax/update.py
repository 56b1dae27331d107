"""The optimizer step: credit, loss, gradient and update in one function."""

from collections.abc import Callable
import dataclasses

import jax
from jax import lax
import jax.numpy as jnp
import optax

from rlvr_jax import credit
from rlvr_jax import gradients
from rlvr_jax import objective as objective_lib
from rlvr_jax import partition_head
from rlvr_jax import parts as parts_lib
from rlvr_jax import passes
from rlvr_jax import records
from rlvr_jax.models import transformer
from rlvr_jax.soundness import numerics

Fields = dict[str, jax.Array]
# How metrics end whose largest value counts.
_LARGEST = ("_max", numerics.IMPOSSIBLE)


@dataclasses.dataclass(frozen=True)
class UpdateConfig:
  """How a rollout batch becomes optimizer updates."""

  # Optimizer updates per rollout batch, each on its own share of the prompts.
  num_minibatches: int = 1
  # Forward and backward passes per update; less memory, the same numbers.
  num_micro_batches: int = 1
  # Widths of a compiled pass: each micro-batch reads the narrowest that holds
  # its longest completion, multiples of completion_tokens / length_buckets.
  # 1 always reads the whole; more take longer to compile.
  length_buckets: int = 1
  # Report the divergence from the initial policy; a forward pass of it.
  measures_ref_kl: bool = False


def train_step(
  state: records.TrainState,
  rollouts: records.RolloutBatch,
  replayed: records.RolloutBatch | None = None,
  *,
  model: transformer.Transformer,
  method: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  config: UpdateConfig,
  temperature: float = 1.0,
  head: partition_head.Head | None = None,
  observe: Callable[..., records.TrainState] = lambda state, rollouts: state,
) -> tuple[records.TrainState, dict[str, jax.Array]]:
  """One rollout batch: credit once, then one or more optimizer updates.

  Pure. With a single update the policy has not moved since the rollout, so
  old_logprobs are the live ones under stop-gradient; with more, or if credit
  reads them, they are scored by a pass of their own before the first. The same
  holds for replayed rows, whatever their age, unless they bring old_logprobs.
  An update whose loss or gradient is not finite is left out, and counted.

  Args:
    state: before; donate it when compiling.
    rollouts: judged.
    replayed: further rows, each with a prompt of its own; their losses are
      averaged with those of the rollouts.
    model: the transformer.
    method: the bound objective.
    optimizer: of state.params.
    config: how the batch is split.
    temperature: the sampler's.
    head: what fills `log_partition`, where the method names it.
    observe: what the state keeps of the rollouts, after the update.

  Returns:
    The state after, and metrics by name, f32[] each.
  """
  scorers = passes.scorers(model, method, temperature, head)
  batches = [passes.known(state, rollouts, method, head)]
  if replayed is not None:
    batches.append(passes.known(state, replayed, method, head, is_replayed=1.0))
  batches = tuple(
    _credited(state, batch, scorers, method, config) for batch in batches
  )

  def update(carry, parts: tuple[parts_lib.Part, ...]):
    learned, opt_states = carry
    grads, measured = gradients.of_update(
      learned,
      parts,
      scorers,
      method,
      head,
      num_micro_batches=config.num_micro_batches,
      length_buckets=config.length_buckets,
    )
    measured |= {"policy/grad_norm": optax.tree.norm(grads.policy)}
    if head:
      norm = optax.tree.norm(grads.log_partition)
      measured |= {"log_partition/grad_norm": norm}
      if head.joint_clip_norm:
        grads = _clipped(grads, head.joint_clip_norm)
    is_finite = numerics.is_finite(measured)
    measured |= {numerics.SKIPPED: 1.0 - is_finite.astype(jnp.float32)}
    stepped = _step(learned, opt_states, grads, optimizer, head)
    return numerics.chosen(is_finite, stepped, carry), measured

  carry = (
    gradients.Learned(state.params, state.log_partition),
    gradients.Learned(state.opt_state, state.log_partition_opt_state),
  )
  if config.num_minibatches == 1:
    (learned, opt_states), metrics = update(carry, batches)
  else:
    parts = tuple(
      # The same prompts on any devices.
      parts_lib.split(batch, parts_lib.division(batch, config.num_minibatches))
      for batch in batches
    )
    (learned, opt_states), measured = lax.scan(update, carry, parts)
    metrics = {
      name: (jnp.max if name.endswith(_LARGEST) else jnp.mean)(values)
      for name, values in measured.items()
    }
  if head and head.config.embedding == "initial":
    metrics |= _drift(head, method, state, learned, rollouts.prompts)
  state = state.replace(
    step=state.step + 1,
    params=learned.policy,
    opt_state=opt_states.policy,
    log_partition=learned.log_partition,
    log_partition_opt_state=opt_states.log_partition,
  )
  return observe(state, rollouts), metrics


def first_fields(
  state: records.TrainState,
  rollouts: records.RolloutBatch,
  *,
  model: transformer.Transformer,
  method: objective_lib.Objective,
  config: UpdateConfig,
  temperature: float = 1.0,
  head: partition_head.Head | None = None,
) -> Fields:
  """All fields of the rollouts once credit is final, before any gradient.

  Those of `train_step` at its first update, as if that took the whole batch:
  with minibatches, credit that looks at the current policy does so there for
  each of them, and after those before it. Arguments are those of `train_step`.
  """
  scorers = passes.scorers(model, method, temperature, head)
  batch = passes.known(state, rollouts, method, head)
  batch = _credited(state, batch, scorers, method, config)
  if credit.is_refined(method):
    micro = config.num_micro_batches * config.num_minibatches
    batch = gradients.refined(state.params, batch, scorers, method, micro)
  return batch.fields


def gradient(
  state: records.TrainState,
  rollouts: records.RolloutBatch,
  *,
  model: transformer.Transformer,
  method: objective_lib.Objective,
  config: UpdateConfig,
  temperature: float = 1.0,
  head: partition_head.Head | None = None,
) -> tuple[gradients.Learned, Fields]:
  """What `train_step` steps along if it takes the whole batch as one update.

  Arguments are those of `train_step`.

  Returns:
    The gradient, before any clipping, and metrics by name, f32[] each.
  """
  scorers = passes.scorers(model, method, temperature, head)
  batch = passes.known(state, rollouts, method, head)
  batch = _credited(state, batch, scorers, method, config)
  learned = gradients.Learned(state.params, state.log_partition)
  return gradients.of_update(
    learned,
    (batch,),
    scorers,
    method,
    head,
    num_micro_batches=config.num_micro_batches,
    length_buckets=config.length_buckets,
  )


def _credited(
  state: records.TrainState,
  batch: parts_lib.Part,
  scorers: passes.Scorers,
  method: objective_lib.Objective,
  config: UpdateConfig,
) -> parts_lib.Part:
  """The batch with its credit, and with the passes that credit reads."""
  micro = config.num_micro_batches * config.num_minibatches
  fields = dict(batch.fields)
  if needs_reference(method, config) and "ref_logprobs" not in fields:
    scores = scorers.in_parts(state.ref_params, batch, micro)
    fields["ref_logprobs"] = scores.logprobs
  if config.num_minibatches > 1 or credit.needs_old_logprobs(method):
    scores = scorers.in_parts(state.params, batch, micro)
    # Replayed rows may bring some of their own.
    fields.setdefault("old_logprobs", scores.logprobs)
  return batch.replace(fields=credit.assign_credit(method, fields))


def needs_reference(
  method: objective_lib.Objective, config: UpdateConfig
) -> bool:
  """Whether an update runs the frozen reference policy."""
  named = objective_lib.needed_fields(method)
  return config.measures_ref_kl or "ref_logprobs" in named


def _step(learned, opt_states, grads, optimizer, head):
  """Each group of parameters by its own optimizer."""
  updates, policy_state = optimizer.update(
    grads.policy, opt_states.policy, learned.policy
  )
  policy_params = optax.apply_updates(learned.policy, updates)
  if not head:
    return gradients.Learned(policy_params), gradients.Learned(policy_state)
  updates, head_state = head.optimizer.update(
    grads.log_partition, opt_states.log_partition, learned.log_partition
  )
  head_params = optax.apply_updates(learned.log_partition, updates)
  return (
    gradients.Learned(policy_params, head_params),
    gradients.Learned(policy_state, head_state),
  )


def _clipped(grads: gradients.Learned, max_norm: float) -> gradients.Learned:
  """Gradients with a joint norm of at most max_norm."""
  norm = optax.tree.norm(grads)
  factor = max_norm / jnp.maximum(norm, max_norm)
  return jax.tree.map(lambda x: x * factor, grads)


def _drift(head, method, state, learned: gradients.Learned, prompts) -> Fields:
  """How far the step moved the accuracy estimates of its own prompts."""
  inv_temp = credit.scalars(method, state.step)["inv_temp"]
  accuracy = lambda params: head.accuracy(params, prompts, inv_temp)
  moved = accuracy(learned.log_partition) - accuracy(state.log_partition)
  return {"log_partition/drift": jnp.mean(jnp.abs(moved))}
