"""Completions by prompt, as one batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.data import readers
from rlvr_jax.rollouts import dumps


def batch(rows: Sequence[dumps.Row], pad_id: int = 0) -> records.RolloutBatch:
  """Rows as a batch on the host: prompts in their order, samples in theirs.

  Every prompt has as many rows as the largest group; those that only fill the
  shape have `valid` 0 and no token.

  Args:
    rows: of `dumps.read`.
    pad_id: fills buckets.

  Raises:
    errors.UserError: if rows of a group have different prompts.
  """
  groups: dict[Any, list[dumps.Row]] = {}
  for row in rows:
    first = groups.setdefault(row.group, [])
    if first and first[0].prompt != row.prompt:
      raise errors.UserError(
        f"{row.source} is of the group {readers.shortened(row.group)} and has"
        f" another prompt than {first[0].source}: give each prompt a group of"
        " its own, or leave groups out with --fields=group="
      )
    first.append(row)
  size = max(map(len, groups.values()))
  grid = [
    row
    for group in groups.values()
    for row in (*group, *[None] * (size - len(group)))
  ]
  prompts, prompt_mask = _bucket(
    [group[0].prompt for group in groups.values()], pad_id, left=True
  )
  tokens, mask = _bucket(
    [row.completion if row else () for row in grid], pad_id
  )
  number = np.arange(len(grid), dtype=np.int32)
  found = records.RolloutBatch(
    prompts=records.PromptBatch(
      prompt_tokens=prompts,
      prompt_mask=prompt_mask,
      prompt_ids=np.arange(len(groups), dtype=np.int32),
      answers={},
    ),
    completion_tokens=tokens,
    completion_mask=mask,
    group_ids=number // size,
    sample_index=number % size,
    valid=np.array([row is not None for row in grid], np.float32),
    rewards=np.array([row.reward if row else 0.0 for row in grid], np.float32),
  )
  found = found.replace(**_columns(grid, mask.shape))
  checks.batch(records.fields(found))
  return found


def _columns(grid: Sequence[dumps.Row | None], shape) -> dict[str, np.ndarray]:
  """Fields of a batch that dumps may have."""
  present = set().union(*(row.columns for row in grid if row))
  columns = [row.columns if row else {} for row in grid]
  found = {
    name: np.array([x.get(name, 0.0) for x in columns], np.float32)
    for name in present.intersection(dumps.BITS)
  }
  for name in present.intersection(dumps.BY_TOKEN):
    values = np.zeros(shape, np.float32)
    for number, given in enumerate(x.get(name, ()) for x in columns):
      values[number, : len(given)] = given
    found[dumps.BY_TOKEN[name]] = values
  if "logprobs" in present:
    found["log_kept_mass"] = np.zeros(shape, np.float32)
  if "teacher_logprobs" in present:
    has = ["teacher_logprobs" in x for x in columns]
    found["has_teacher"] = np.array(has, np.float32)
  return found


def _bucket(ids: Sequence[Sequence[int]], pad_id: int, left: bool = False):
  """Token ids i32[N, L], padded on one side, and f32 mask of what is real."""
  width = max(map(len, ids))
  values = np.full((len(ids), width), pad_id, np.int32)
  mask = np.zeros(values.shape, np.float32)
  for number, row in enumerate(ids):
    inside = slice(width - len(row), width) if left else slice(len(row))
    values[number, inside] = row
    mask[number, inside] = 1.0
  return values, mask
