"""What a teacher is shown of each rollout's problem."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings

# Contexts that lie beside the prompts of a data set; see PromptBatch.hints.
GOLD = ("gold_answer", "gold_solution")
CONTEXTS = ("sibling", *GOLD)


class Demonstrations(NamedTuple):
  """One demonstration per row of a batch, or none.

  Attributes:
    tokens: i32[B, L].
    mask: f32[B, L], 1 on tokens to show, in any places.
    exists: f32[B], 0 on rows without a demonstration.
  """

  tokens: jax.Array
  mask: jax.Array
  exists: jax.Array


# Rollouts, and the ids that end a completion, in; a demonstration per row out.
Context = Callable[[records.RolloutBatch, Sequence[int]], Demonstrations]


def make_context(name: str) -> Context:
  """The context of that name, or a user's own by "module:function".

  Raises:
    errors.UserError: if there is no such context.
  """
  if ":" in name:
    return names.resolve("config.teacher.context", name)
  settings.require(
    name in CONTEXTS,
    f"config.teacher.context is {name!r}:"
    f" {names.did_you_mean(name, CONTEXTS)}, or name your own as"
    " 'module:function'",
  )
  if name == "sibling":
    return sibling
  return lambda rollouts, stop_ids: gold(rollouts, name)


def first_correct_sibling(
  *, is_correct: jax.Array, group_ids: jax.Array, valid: jax.Array
) -> jax.Array:
  """For each row the first correct row of its group that is not itself.

  A row as its own context would find its tokens certain, which says nothing
  of the problem [code: lasgroup/SDPO, dont_reprompt_on_self_success].

  Args:
    is_correct: f32[B], the verifier's bit.
    group_ids: i32[B], in 0 .. B - 1.
    valid: f32[B], 0 on rows that were not judged.

  Returns:
    i32[B], row numbers; -1 where there is none.
  """
  rows = jnp.arange(is_correct.shape[0], dtype=jnp.int32)
  none = rows.shape[0]
  right = (is_correct > 0) & (valid > 0)

  def first(eligible: jax.Array) -> jax.Array:
    found = jnp.full(none, none, jnp.int32)
    found = found.at[group_ids].min(jnp.where(eligible, rows, none))
    return found[group_ids]

  best = first(right)
  second = first(right & (rows != best))
  chosen = jnp.where(rows == best, second, best)
  return jnp.where(chosen == none, -1, chosen)


def sibling(
  rollouts: records.RolloutBatch, stop_ids: Sequence[int]
) -> Demonstrations:
  """Another sample of the same prompt that is right, without its end token."""
  chosen = first_correct_sibling(
    is_correct=rollouts.is_correct,
    group_ids=rollouts.group_ids,
    valid=rollouts.valid,
  )
  exists = (chosen >= 0).astype(jnp.float32)
  tokens = rollouts.completion_tokens[jnp.maximum(chosen, 0)]
  mask = rollouts.completion_mask[jnp.maximum(chosen, 0)]
  ends = jnp.isin(tokens, jnp.asarray(stop_ids))
  mask = jnp.where(ends, 0.0, mask) * exists[:, None]
  return Demonstrations(tokens, mask, exists)


def gold(rollouts: records.RolloutBatch, name: str) -> Demonstrations:
  """What the data set says of the prompt."""
  tokens, mask = rollouts.prompts.hints[name]
  samples = rollouts.completion_tokens.shape[0] // tokens.shape[0]
  tokens, mask = (jnp.repeat(x, samples, axis=0) for x in (tokens, mask))
  exists = jnp.any(mask > 0, axis=1).astype(jnp.float32)
  return Demonstrations(tokens, mask, exists)


def without_thinking(
  shown: Demonstrations, end_of_thinking_id: int
) -> Demonstrations:
  """Drops all up to the first closing tag, opened or not [code:
  beanie00/self-distillation-analysis, ray_trainer.py]."""
  closes = (shown.tokens == end_of_thinking_id) & (shown.mask > 0)
  closes = closes.astype(jnp.int32)
  after = jnp.cumsum(closes, axis=1) - closes > 0
  thought = jnp.any(closes > 0, axis=1, keepdims=True)
  return shown._replace(mask=jnp.where(after | ~thought, shown.mask, 0.0))
