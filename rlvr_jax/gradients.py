"""The gradient of one update: a part of the batch at a time, summed."""

import functools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import credit
from rlvr_jax import objective as objective_lib
from rlvr_jax import ops
from rlvr_jax import partition_head
from rlvr_jax import parts as parts_lib
from rlvr_jax import passes
from rlvr_jax.metrics import policy
from rlvr_jax.soundness import numerics

Fields = dict[str, jax.Array]


class Learned(NamedTuple):
  """What a gradient is taken with respect to."""

  policy: Any
  log_partition: Any = None


def of_update(
  learned: Learned,
  batches: tuple[parts_lib.Part, ...],
  scorers: passes.Scorers,
  method: objective_lib.Objective,
  head: partition_head.Head | None,
  *,
  num_micro_batches: int,
  length_buckets: int,
) -> tuple[Learned, Fields]:
  """Gradient of the loss of one update over all of its batches, and metrics.

  Args:
    learned: at which it is taken.
    batches: fresh rollouts, then replayed rows; they share the denominators of
      the loss, and the policy's metrics are those of the first.
    scorers: forward passes.
    method: the bound objective.
    head: what fills `log_partition`, where the method names it.
    num_micro_batches: parts that a batch is read in.
    length_buckets: widths that a part may be read in.
  """

  def loss(scorers, learned, part: parts_lib.Part, denominators):
    scores = scorers.score_all(learned.policy, part)
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

  def gradient_by(scorers: passes.Scorers):
    gradient = jax.grad(functools.partial(loss, scorers), has_aux=True)
    if length_buckets == 1:
      return gradient
    return functools.partial(_in_bucket, gradient, length_buckets)

  is_one_pass = num_micro_batches == length_buckets == len(batches) == 1
  if is_one_pass and credit.is_refined(method):
    # The pass itself has the statistics of the whole update.
    grads, (sums, rows) = gradient_by(scorers)(learned, batches[0], None)
  else:
    if credit.is_refined(method):
      # Statistics of the current policy are those of the whole update.
      batches = tuple(
        refined(learned.policy, part, scorers, method, num_micro_batches)
        for part in batches
      )
    counted = [credit.counts(method, part.fields) for part in batches]
    denominators = jax.tree.map(lambda *x: sum(x), *counted)
    found = [
      _of_batch(
        gradient_by, scorers, num_micro_batches, learned, denominators, part
      )
      for part in batches
    ]
    grads = jax.tree.map(lambda *x: sum(x), *(grads for grads, _, _ in found))
    _, sums, rows = found[0]
    # Loss and terms are those of all batches together.
    whole = jax.tree.map(lambda *x: sum(x), *(sums[:2] for _, sums, _ in found))
    sums = (*whole, sums[2])
  return grads, _measured(sums, rows, batches[0].fields)


def _measured(sums, rows: Fields, fields: Fields) -> Fields:
  """Metrics of an update from its sums and from what each row tells."""
  value, terms, means = sums
  measured = {"policy/loss": value}
  measured |= {
    f"policy/{name}_loss": mean.value()
    for name, mean in terms.items()
    if name != "policy"
  }
  measured |= {f"policy/{name}": mean.value() for name, mean in means.items()}
  measured[numerics.IMPOSSIBLE] = jnp.max(rows.pop("impossible_nats"))
  summary = policy.row_summary(rows, fields)
  return measured | {f"policy/{k}": v for k, v in summary.items()}


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


def refined(
  params: Any,
  part: parts_lib.Part,
  scorers: passes.Scorers,
  method: objective_lib.Objective,
  num_passes: int,
) -> parts_lib.Part:
  """The part with credit that looked at the policy of these parameters."""
  scores = scorers.in_parts(params, part, num_passes)
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


def _of_batch(
  gradient_by, scorers, num_parts: int, learned, denominators, part
):
  """Gradient, sums and rows of a batch.

  Devices that hold copies of the parameters add up their own passes first: the
  compiler would add gradients over all devices in every pass, in the type that
  the model computes in.
  """
  partition = scorers.model.partition
  if not _goes_apart(partition, num_parts, part):
    into = scorers.divided(part, num_parts)
    return _summed(gradient_by(scorers), learned, denominators, part, into)
  own_partition = ops.of_each(partition, partition.copies)
  own = scorers._replace(model=scorers.model.clone(partition=own_partition))
  has_rows = {k: checks.has_rows(k, x) for k, x in part.fields.items()}
  shared = {k: x for k, x in part.fields.items() if not has_rows[k]}
  by_row = {k: x for k, x in part.fields.items() if has_rows[k]}

  def of_own_rows(learned, denominators, shared, part):
    part = part.replace(fields=part.fields | shared)
    into = own.divided(part, num_parts)
    return _summed(gradient_by(own), learned, denominators, part, into)

  of_all = ops.each(
    of_own_rows, partition, partition.copies, num_shared=3, num_sums=2
  )
  return of_all(learned, denominators, shared, part.replace(fields=by_row))


def _goes_apart(
  partition: ops.Partition | None, num_parts: int, part: parts_lib.Part
) -> bool:
  """Whether each copy of the parameters has passes of its own to add up."""
  if partition is None or partition.num_copies == 1:
    return False
  num_prompts = part.prompts.prompt_ids.shape[0]
  samples = part.completion_tokens.shape[0] // num_prompts
  own, rest = divmod(num_prompts, partition.num_copies)
  return not rest and bool(parts_lib.even_division(num_parts, own, samples))


def _summed(gradient, learned, denominators, part, into: parts_lib.Division):
  """Gradient, sums and rows of a batch, a part of it at a time."""
  parts = parts_lib.split(part, into)
  first = jax.tree.map(lambda x: x[0], parts)
  if into.num_parts == 1:
    grads, (sums, rows) = gradient(learned, first, denominators)
    return grads, sums, rows

  def add(total, part):
    grads, (sums, rows) = gradient(learned, part, denominators)
    return jax.tree.map(jnp.add, total, (grads, sums)), rows

  shapes = jax.eval_shape(lambda: gradient(learned, first, denominators))
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), (shapes[0], shapes[1][0])
  )
  (grads, sums), rows = lax.scan(add, zeros, parts)
  return (
    grads,
    sums,
    {k: parts_lib.joined_rows(x, into) for k, x in rows.items()},
  )
