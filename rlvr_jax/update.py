"""The optimizer step: credit, loss, gradient and update in one function."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import optax

from rlvr_jax import credit
from rlvr_jax import objective as objective_lib
from rlvr_jax import partition_head
from rlvr_jax import parts as parts_lib
from rlvr_jax import passes
from rlvr_jax import records
from rlvr_jax.metrics import policy
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


class Learned(NamedTuple):
  """What a gradient is taken with respect to."""

  policy: Any
  log_partition: Any = None


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
  forward, live, divided = _passes(model, method, temperature, head)
  batches = [passes.known(state, rollouts, method, head)]
  if replayed is not None:
    batches.append(passes.known(state, replayed, method, head, is_replayed=1.0))
  batches = tuple(
    _credited(state, batch, forward, divided, method, config)
    for batch in batches
  )

  def update(carry, parts: tuple[parts_lib.Part, ...]):
    learned, opt_states = carry
    grads, measured = _gradient(
      learned, parts, forward, live, method, head, config, divided
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
    Learned(state.params, state.log_partition),
    Learned(state.opt_state, state.log_partition_opt_state),
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
  forward, _, divided = _passes(model, method, temperature, head)
  batch = passes.known(state, rollouts, method, head)
  batch = _credited(state, batch, forward, divided, method, config)
  if credit.is_refined(method):
    into = divided(batch, config.num_micro_batches * config.num_minibatches)
    batch = _refined(Learned(state.params), batch, forward, method, into)
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
) -> tuple[Learned, Fields]:
  """What `train_step` steps along if it takes the whole batch as one update.

  Arguments are those of `train_step`.

  Returns:
    The gradient, before any clipping, and metrics by name, f32[] each.
  """
  forward, live, divided = _passes(model, method, temperature, head)
  batch = passes.known(state, rollouts, method, head)
  batch = _credited(state, batch, forward, divided, method, config)
  learned = Learned(state.params, state.log_partition)
  return _gradient(
    learned, (batch,), forward, live, method, head, config, divided
  )


def _passes(model, method, temperature, head):
  """Forward passes outside and inside of the gradient, and how they split."""
  forward = functools.partial(passes.score, model, temperature, head)
  # Only the pass inside the gradient looks at candidate tokens.
  live = functools.partial(
    forward,
    has_support="support_logprobs" in objective_lib.needed_fields(method),
  )
  devices = model.partition.num_row_parts if model.partition else 1
  divided = functools.partial(parts_lib.division, num_devices=devices)
  return forward, live, divided


def _credited(
  state: records.TrainState,
  batch: parts_lib.Part,
  forward,
  divided: Callable[[parts_lib.Part, int], parts_lib.Division],
  method: objective_lib.Objective,
  config: UpdateConfig,
) -> parts_lib.Part:
  """The batch with its credit, and with the passes that credit reads."""
  micro = config.num_micro_batches * config.num_minibatches
  fields = dict(batch.fields)
  if needs_reference(method, config) and "ref_logprobs" not in fields:
    into = divided(batch, micro)
    scores = passes.in_parts(forward, state.ref_params, batch, into)
    fields["ref_logprobs"] = scores.logprobs
  if config.num_minibatches > 1 or credit.needs_old_logprobs(method):
    into = divided(batch, micro)
    scores = passes.in_parts(forward, state.params, batch, into)
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
    return Learned(policy_params), Learned(policy_state)
  updates, head_state = head.optimizer.update(
    grads.log_partition, opt_states.log_partition, learned.log_partition
  )
  head_params = optax.apply_updates(learned.log_partition, updates)
  return Learned(policy_params, head_params), Learned(policy_state, head_state)


def _clipped(grads: Learned, max_norm: float) -> Learned:
  """Gradients with a joint norm of at most max_norm."""
  norm = optax.tree.norm(grads)
  factor = max_norm / jnp.maximum(norm, max_norm)
  return jax.tree.map(lambda x: x * factor, grads)


def _drift(head, method, state, learned: Learned, prompts) -> Fields:
  """How far the step moved the accuracy estimates of its own prompts."""
  inv_temp = credit.scalars(method, state.step)["inv_temp"]
  accuracy = lambda params: head.accuracy(params, prompts, inv_temp)
  moved = accuracy(learned.log_partition) - accuracy(state.log_partition)
  return {"log_partition/drift": jnp.mean(jnp.abs(moved))}


def _log_partition(head, learned: Learned, part, scores) -> Fields:
  """log Z of each row's prompt, f32[B]."""
  if not head:
    return {}
  fields = part.fields
  values = head.log_partition(
    learned.log_partition, part.prompts, fields["inv_temp"], scores.embeddings
  )
  rows = jnp.repeat(values, part.completion_tokens.shape[0] // values.shape[0])
  if not head.config.learns_from_replay:
    rows = jnp.where(fields["is_replayed"] > 0, lax.stop_gradient(rows), rows)
  return {"log_partition": rows}


def _gradient(
  learned: Learned,
  batches: tuple[parts_lib.Part, ...],
  forward,
  live,
  method: objective_lib.Objective,
  head: partition_head.Head | None,
  config: UpdateConfig,
  divided: Callable[[parts_lib.Part, int], parts_lib.Division],
) -> tuple[Learned, Fields]:
  """Gradient of the loss of one update over all of its batches, and metrics.

  The batches (fresh rollouts, then replayed rows) share the denominators of
  the loss; the policy's metrics are those of the first. `live` is the forward
  pass with all that the loss reads, `forward` the one that credit reads.
  """

  def loss(learned, part: parts_lib.Part, denominators):
    scores = live(learned.policy, part)
    fields = passes.with_live(scores, part.fields)
    fields |= _log_partition(head, learned, part, scores)
    if denominators is None:
      fields = credit.refine_credit(method, fields)
      denominators = credit.counts(method, fields)
    value, terms, told = credit.loss_and_terms(method, fields, denominators)
    sums = (value, terms, policy.token_means(fields))
    told |= policy.row_measures(fields)
    told |= {"impossible_nats": numerics.impossible_nats(fields)}
    return value, (sums, lax.stop_gradient(told))

  gradient = jax.grad(loss, has_aux=True)
  num_micro_batches, buckets = config.num_micro_batches, config.length_buckets
  if num_micro_batches == buckets == len(batches) == 1:
    grads, (sums, rows) = gradient(learned, batches[0], None)
  else:
    if credit.is_refined(method):
      # Statistics of the current policy are those of the whole update.
      batches = tuple(
        _refined(
          learned, part, forward, method, divided(part, num_micro_batches)
        )
        for part in batches
      )
    counted = [credit.counts(method, part.fields) for part in batches]
    denominators = jax.tree.map(lambda *x: sum(x), *counted)
    if buckets > 1:
      gradient = functools.partial(_in_bucket, gradient, buckets)
    found = [
      _summed(
        gradient, learned, part, denominators, divided(part, num_micro_batches)
      )
      for part in batches
    ]
    grads = jax.tree.map(lambda *x: sum(x), *(grads for grads, _, _ in found))
    _, sums, rows = found[0]
    # Loss and terms are those of all batches together.
    whole = jax.tree.map(lambda *x: sum(x), *(sums[:2] for _, sums, _ in found))
    sums = (*whole, sums[2])
  value, terms, means = sums
  measured = {"policy/loss": value}
  measured |= {
    f"policy/{name}_loss": mean.value()
    for name, mean in terms.items()
    if name != "policy"
  }
  measured |= {f"policy/{name}": mean.value() for name, mean in means.items()}
  measured[numerics.IMPOSSIBLE] = jnp.max(rows.pop("impossible_nats"))
  summary = policy.row_summary(rows, batches[0].fields)
  return grads, measured | {f"policy/{k}": v for k, v in summary.items()}


def _refined(learned, part, forward, method, into) -> parts_lib.Part:
  """The part with credit that looked at the current policy."""
  scores = passes.in_parts(forward, learned.policy, part, into)
  fields = credit.refine_credit(method, passes.with_live(scores, part.fields))
  return part.replace(fields=fields)


def _in_bucket(gradient, buckets: int, learned, part, denominators):
  """The gradient of a batch, of which only so many places are read as needed.

  What lies beyond a completion's end counts for nothing, so the numbers are
  the same.
  """
  length = part.completion_tokens.shape[1]
  widths = sorted({-(-length * (i + 1) // buckets) for i in range(buckets)})
  longest = jnp.max(jnp.sum(part.fields["completion_mask"], axis=1))
  narrowest = jnp.sum(longest.astype(jnp.int32) > jnp.array(widths[:-1]))
  branches = [
    lambda x, width=width: gradient(x[0], parts_lib.cut(x[1], width), x[2])
    for width in widths
  ]
  return lax.switch(narrowest, branches, (learned, part, denominators))


def _summed(gradient, learned, part, denominators, into: parts_lib.Division):
  """Gradient, sums and rows of a batch, a part of it at a time."""
  if into.num_parts == 1:
    grads, (sums, rows) = gradient(learned, part, denominators)
    return grads, sums, rows
  parts = parts_lib.split(part, into)

  def add(total, part):
    grads, (sums, rows) = gradient(learned, part, denominators)
    return jax.tree.map(jnp.add, total, (grads, sums)), rows

  shapes = jax.eval_shape(
    lambda: gradient(learned, jax.tree.map(lambda x: x[0], parts), denominators)
  )
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), (shapes[0], shapes[1][0])
  )
  (grads, sums), rows = lax.scan(add, zeros, parts)
  return (
    grads,
    sums,
    {k: parts_lib.joined_rows(x, into) for k, x in rows.items()},
  )
