"""Completions become a batch, whose filling counts for nothing."""

import numpy as np
import pytest

from rlvr_jax import credit
from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.rollouts import dumps
from rlvr_jax.rollouts import files as rollout_files
from rlvr_jax.rollouts import grouping
from tests import batches

_RNG = np.random.default_rng(0)


def _row(line, group, length, reward, **columns):
  prompt = (3,) * (1 + "ab".index(group))
  return dumps.Row(
    f"dump.jsonl:{line}",
    prompt,
    tuple(range(2, 2 + length)),
    reward,
    {"group": group, "logprobs": -_RNG.random(length)} | columns,
  )


def _rows():
  """A group of three and one of two, out of order."""
  return [
    _row(1, "a", 2, 1.0),
    _row(2, "b", 3, 0.0),
    _row(3, "a", 1, 0.0),
    _row(4, "b", 2, 1.0),
    _row(5, "a", 4, 0.0),
  ]


def test_rows_stand_by_prompt_and_groups_are_filled_up():
  batch = grouping.batch(_rows(), pad_id=9)
  np.testing.assert_array_equal(batch.group_ids, [0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(batch.sample_index, [0, 1, 2, 0, 1, 2])
  np.testing.assert_array_equal(batch.valid, [1, 1, 1, 1, 1, 0])
  np.testing.assert_array_equal(
    batch.completion_mask.sum(axis=1), [2, 1, 4, 3, 2, 0]
  )
  np.testing.assert_array_equal(batch.completion_tokens[1], [2, 9, 9, 9])
  np.testing.assert_array_equal(batch.completion_tokens[5], [9, 9, 9, 9])
  np.testing.assert_array_equal(batch.prompts.prompt_tokens, [[9, 3], [3, 3]])
  np.testing.assert_array_equal(batch.prompts.prompt_mask, [[0, 1], [1, 1]])
  np.testing.assert_array_equal(batch.rewards, [1, 0, 0, 0, 1, 0])
  assert batch.sampler_logprobs.shape == batch.log_kept_mass.shape == (6, 4)


def test_rows_without_a_teacher_are_marked():
  rows = _rows()
  rows[3].columns["teacher_logprobs"] = np.array([-1.0, -2.0])
  batch = grouping.batch(rows)
  np.testing.assert_array_equal(batch.has_teacher, [0, 0, 0, 0, 1, 0])
  np.testing.assert_array_equal(batch.teacher_logprobs[4], [-1, -2, 0, 0])
  assert batch.is_correct is None


def test_a_group_with_two_prompts_is_refused():
  rows = [_row(1, "a", 2, 1.0), _row(2, "b", 2, 1.0)]
  rows[1].columns["group"] = "a"
  expected = "dump.jsonl:2 is of the group 'a' and has another prompt than dump"
  with pytest.raises(errors.UserError, match=expected):
    grouping.batch(rows)


def test_the_loss_of_a_padded_batch_is_that_of_its_groups(tmp_path):
  """GRPO by hand: credit within each group, one mean over all real tokens."""
  rows = _rows()
  path = tmp_path / "rollouts.npz"
  rollout_files.write(path, grouping.batch(rows))
  batch, _ = rollout_files.read(path)
  fields = records.fields(batch)
  # The policy has moved: ratios e^0.1, within the clip.
  fields["old_logprobs"] = fields["sampler_logprobs"]
  fields["logprobs"] = fields["old_logprobs"] + np.float32(0.1)
  fields["entropies"] = np.zeros_like(fields["logprobs"])
  found, _ = credit.whole_loss(batches.GRPO, fields)
  total, count = 0.0, 0
  for group in "ab":
    members = [row for row in rows if row.group == group]
    rewards = np.array([row.reward for row in members])
    advantages = rewards - rewards.mean()
    advantages /= rewards.std(ddof=1) + 1e-6
    for row, advantage in zip(members, advantages, strict=True):
      total -= len(row.completion) * np.exp(0.1) * advantage
      count += len(row.completion)
  np.testing.assert_allclose(found, total / count, rtol=1e-5)
  # What stands in the filling is never read.
  spoilt = {
    name: np.where(fields["valid"][:, None] > 0, value, np.nan)
    for name, value in fields.items()
    if name.endswith("logprobs")
  }
  again, _ = credit.whole_loss(batches.GRPO, fields | spoilt)
  assert again == found
