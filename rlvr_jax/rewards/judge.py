"""From outcomes to rewards: the only place where a verdict becomes a number."""

from collections.abc import Callable
import inspect

import jax
import jax.numpy as jnp

from rlvr_jax import records


def judge(
  rollouts: records.RolloutBatch, verify: Callable[..., jax.Array]
) -> records.RolloutBatch:
  """Fills rewards, is_correct and outcomes.

  A row that could not be judged (see `records.UNJUDGED`) leaves the loss and
  every group statistic, through `valid`: it is never a silent 0.

  Args:
    rollouts: with B rows.
    verify: takes completion_tokens and the answers it names, [B, ...] each;
      returns outcomes i32[B].

  Returns:
    The rollouts with their verdicts.
  """
  return with_outcomes(rollouts, device_outcomes(rollouts, verify))


def device_outcomes(
  rollouts: records.RolloutBatch, verify: Callable[..., jax.Array]
) -> jax.Array:
  """What a device verifier says of each row, i32[B]; arguments of `judge`."""
  num_rows = rollouts.completion_tokens.shape[0]
  repeat = num_rows // rollouts.prompts.prompt_ids.shape[0]
  answers = jax.tree.map(
    lambda x: jnp.repeat(x, repeat, axis=0), rollouts.prompts.answers
  )
  wanted = inspect.signature(verify).parameters
  return verify(
    completion_tokens=rollouts.completion_tokens,
    **{name: answers[name] for name in wanted if name in answers},
  )


def with_outcomes(
  rollouts: records.RolloutBatch, outcomes: jax.Array
) -> records.RolloutBatch:
  """Fills rewards, is_correct and outcomes from i32[B]; see `judge`."""
  judged = jnp.ones(outcomes.shape, jnp.float32)
  for name in records.UNJUDGED:
    judged = jnp.where(outcomes == records.OUTCOMES.index(name), 0.0, judged)
  is_correct = (outcomes == records.OUTCOMES.index("correct")).astype(
    jnp.float32
  )
  return rollouts.replace(
    outcomes=outcomes,
    is_correct=is_correct,
    rewards=is_correct,
    valid=rollouts.valid * judged,
  )
