"""The gradient of one update: a part of the batch at a time, summed."""

import functools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import credit
from rlvr_jax import objective as objective_lib
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

  def loss(learned, part: parts_lib.Part, denominators):
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

  gradient = jax.grad(loss, has_aux=True)
  if num_micro_batches == length_buckets == len(batches) == 1:
    grads, (sums, rows) = gradient(learned, batches[0], None)
  else:
    if credit.is_refined(method):
      # Statistics of the current policy are those of the whole update.
      batches = tuple(
        refined(learned.policy, part, scorers, method, num_micro_batches)
        for part in batches
      )
    counted = [credit.counts(method, part.fields) for part in batches]
    denominators = jax.tree.map(lambda *x: sum(x), *counted)
    if length_buckets > 1:
      gradient = functools.partial(_in_bucket, gradient, length_buckets)
    found = [
      _summed(
        gradient,
        learned,
        part,
        denominators,
        scorers.divided(part, num_micro_batches),
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
