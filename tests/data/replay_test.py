"""The replay buffer: what goes in, what stays, what comes out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.data import replay
from tests import testing

_LENGTH = 3


def _slots(*rows) -> records.Replay:
  """A buffer out of (priority, prompt id, born step); None is empty.

  Every other array is a function of the prompt id, so that a row that was
  taken apart shows.
  """
  rows = [row or (0.9, 0, 0) for row in rows], [row is not None for row in rows]
  priority, ids, born = (np.array(x) for x in zip(*rows[0], strict=True))
  cells = np.repeat(ids[:, None], _LENGTH, axis=1)
  as_float = lambda x: jnp.asarray(x, jnp.float32)
  as_int = lambda x: jnp.asarray(x, jnp.int32)
  return records.Replay(
    completion_tokens=as_int(cells),
    completion_mask=jnp.ones(cells.shape, jnp.float32),
    logprobs=as_float(-cells),
    prompt_ids=as_int(ids),
    sample_index=as_int(ids),
    accuracy=as_float(ids / 100),
    priority=as_float(priority),
    born_step=as_int(born),
    filled=as_float(rows[1]),
  )


def _held(buffer):
  """(priority, prompt id) of the filled slots, the largest first."""
  ids = np.asarray(buffer.prompt_ids)
  filled = np.asarray(buffer.filled) > 0
  for name, wanted in (
    ("completion_tokens", np.repeat(ids[:, None], _LENGTH, axis=1)),
    ("logprobs", -np.repeat(ids[:, None], _LENGTH, axis=1)),
    ("sample_index", ids),
    ("accuracy", ids / 100),
  ):
    found = np.asarray(getattr(buffer, name))
    np.testing.assert_allclose(found[filled], wanted[filled], rtol=1e-6)
  pairs = zip(np.asarray(buffer.priority), ids, strict=True)
  return sorted(
    (
      (round(float(p), 4), int(i))
      for (p, i), kept in zip(pairs, filled, strict=True)
      if kept
    ),
    reverse=True,
  )


def _rollouts(correct, estimates, valid=None) -> records.RolloutBatch:
  """Verdicts [G, samples] and estimates [G] as a judged batch."""
  correct = np.asarray(correct, np.float32)
  batch = testing.rollout_batch(*correct.shape)
  if valid is not None:
    batch = batch.replace(valid=jnp.asarray(valid, jnp.float32).reshape(-1))
  return batch.replace(
    prompts=batch.prompts.replace(
      accuracy_estimates=jnp.asarray(estimates, jnp.float32)
    ),
    is_correct=jnp.asarray(correct.reshape(-1)),
  )


_candidates = jax.jit(replay.candidates, static_argnums=2)
_put = jax.jit(replay.put)
_refreshed = jax.jit(replay.refreshed, static_argnums=3)
_take = jax.jit(replay.take, static_argnums=3)


def _of(*counts):
  """Groups of 8 with so many right, at the end of the group."""
  return [[0] * (8 - count) + [1] * count for count in counts]


def test_priority_is_the_error_of_the_estimate():
  found = replay.priority(
    jnp.asarray([6 / 8, 0.25, 1.0, 0.5]), jnp.asarray([0.40, 0.25, -0.2, 1.7])
  )
  np.testing.assert_allclose(found, [0.35, 0.0, 1.0, 0.5], atol=1e-7)


def test_one_right_response_of_each_prompt_the_worst_estimated_first():
  rollouts = _rollouts(_of(6, 0, 8, 1), [0.40, 0.9, 0.9, 0.9])
  found = _candidates(rollouts, jnp.asarray(5), 64)
  ids = rollouts.prompts.prompt_ids
  # 1/8 against 0.9, then 6/8 against 0.4, then 8/8 against 0.9; no right
  # response, however wrong the estimate: never.
  np.testing.assert_allclose(found.priority[:3], [0.775, 0.35, 0.1], rtol=1e-5)
  np.testing.assert_array_equal(found.filled, [1, 1, 1, 0])
  np.testing.assert_array_equal(found.prompt_ids[:3], ids[jnp.array([3, 0, 2])])
  # The first right sample of each.
  np.testing.assert_array_equal(found.sample_index[:3], [7, 2, 0])
  np.testing.assert_array_equal(found.accuracy[:3], [1 / 8, 6 / 8, 1.0])
  np.testing.assert_array_equal(found.born_step[:3], [5, 5, 5])
  rows = jnp.array([3 * 8 + 7, 2, 2 * 8])
  for name in ("completion_tokens", "completion_mask"):
    np.testing.assert_array_equal(
      getattr(found, name)[:3], getattr(rollouts, name)[rows]
    )
  logprobs = rollouts.sampler_logprobs + rollouts.log_kept_mass
  np.testing.assert_array_equal(found.logprobs[:3], logprobs[rows])
  # Fewer than there are: the worst estimated ones.
  few = _candidates(rollouts, jnp.asarray(5), 2)
  np.testing.assert_array_equal(few.prompt_ids, found.prompt_ids[:2])


def test_prompts_without_a_right_response_are_never_kept():
  found = _candidates(_rollouts(_of(0, 0), [1.0, 0.2]), jnp.asarray(0), 2)
  np.testing.assert_array_equal(found.filled, [0, 0])
  buffer = _put(replay.empty(4, found.completion_tokens.shape[1]), found)
  np.testing.assert_array_equal(buffer.filled, [0] * 4)


def test_responses_that_nobody_judged_are_not_right():
  valid = [[1, 1, 0, 0], [0, 0, 0, 0]]
  correct = [[0, 0, 1, 1], [1, 1, 1, 1]]
  found = _candidates(_rollouts(correct, [0.9, 0.1], valid), jnp.asarray(0), 2)
  np.testing.assert_array_equal(found.filled, [0, 0])


def test_an_empty_buffer_takes_what_it_is_given():
  new = _slots((0.5, 7, 1), (0.0, 8, 1), None)
  buffer = _put(replay.empty(4, _LENGTH), new)
  # An estimate that was exactly right still fills an empty slot.
  assert _held(buffer) == [(0.5, 7), (0.0, 8)]
  assert jax.tree.map(jnp.shape, buffer) == jax.tree.map(
    jnp.shape, replay.empty(4, _LENGTH)
  )


def test_the_smallest_priorities_leave_first():
  buffer = _slots((0.3, 1, 0), (0.1, 2, 0), (0.5, 3, 0), (0.2, 4, 0))
  buffer = _put(buffer, _slots((0.4, 5, 1), (0.15, 6, 1)))
  assert _held(buffer) == [(0.5, 3), (0.4, 5), (0.3, 1), (0.2, 4)]
  # What is no larger than what it would replace stays out.
  buffer = _put(buffer, _slots((0.2, 7, 2)))
  assert _held(buffer) == [(0.5, 3), (0.4, 5), (0.3, 1), (0.2, 4)]
  buffer = _put(buffer, _slots((0.9, 8, 3), (0.8, 9, 3), (0.7, 10, 3)))
  assert _held(buffer) == [(0.9, 8), (0.8, 9), (0.7, 10), (0.5, 3)]


def test_put_keeps_the_largest_of_old_and_new():
  """Against a sort, over random buffers with holes."""
  rng = np.random.default_rng(0)
  for _ in range(60):
    priorities = rng.permutation(1000)[:9] / 1000
    rows = [(float(p), i + 1, 0) for i, p in enumerate(priorities)]
    holes = rng.random(9) < 0.3
    rows = [
      None if hole else row for row, hole in zip(rows, holes, strict=True)
    ]
    old, new = rows[:5], sorted(rows[5:], key=lambda r: -(r or (-1,))[0])
    found = _held(_put(_slots(*old), _slots(*new)))
    union = sorted((row[:2] for row in rows if row), reverse=True)
    assert found == union[:5]


def test_refreshing_drops_what_is_too_old_and_renews_priorities():
  config = replay.ReplayConfig(4, 1, 1, max_age=4)
  buffer = _slots((0.9, 10, 5), (0.9, 20, 6), (0.9, 30, 9), None)
  estimates = jnp.asarray([0.0, 1.2, 0.35, 0.0])
  found = _refreshed(buffer, estimates, jnp.asarray(10), config)
  # Ages 5, 4, 1; accuracies .1, .2, .3.
  assert _held(found) == [(0.8, 20), (0.05, 30)]


def _all_prompts(num_prompts=50):
  prompts = testing.prompt_batch(num_prompts, 5)
  return prompts.replace(prompt_ids=jnp.arange(num_prompts))


def test_rows_of_age_come_out_the_largest_priority_first():
  config = replay.ReplayConfig(5, 2, 4, min_age=2)
  buffer = _slots((0.3, 11, 8), (0.9, 12, 9), (0.5, 13, 8), None, (0.4, 11, 7))
  prompts = _all_prompts()
  batch, metrics = _take(buffer, prompts, jnp.asarray(10), config)
  # 12 is too young, and one row only fills the shape.
  np.testing.assert_array_equal(batch.valid, [1, 1, 1, 0])
  np.testing.assert_array_equal(batch.prompts.prompt_ids[:3], [13, 11, 11])
  np.testing.assert_array_equal(batch.completion_tokens[:3, 0], [13, 11, 11])
  np.testing.assert_array_equal(batch.sample_index[:3], [13, 11, 11])
  np.testing.assert_array_equal(
    batch.prompts.prompt_tokens[0], prompts.prompt_tokens[13]
  )
  np.testing.assert_array_equal(batch.group_ids, np.arange(4))
  np.testing.assert_array_equal(batch.rewards[:3], [1, 1, 1])
  np.testing.assert_array_equal(batch.is_correct[:3], [1, 1, 1])
  assert batch.old_logprobs is None
  expected = {
    "replay/rows": 3.0,
    "replay/age": (2 + 3 + 2) / 3,
    "replay/priority": (0.5 + 0.4 + 0.3) / 3,
    "replay/unique_prompts": 2.0,
    "replay/filled_frac": 0.8,
  }
  assert metrics.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-6)


def test_an_empty_buffer_gives_rows_that_do_not_count():
  config = replay.ReplayConfig(4, 2, 3)
  buffer = replay.empty(4, _LENGTH)
  batch, metrics = _take(buffer, _all_prompts(), jnp.asarray(3), config)
  np.testing.assert_array_equal(batch.valid, [0, 0, 0])
  assert {k: float(v) for k, v in metrics.items()} == dict.fromkeys(metrics, 0)


def test_a_stored_anchor_comes_along():
  config = replay.ReplayConfig(2, 1, 2, anchor="stored")
  buffer = _slots((0.3, 11, 0), (0.9, 12, 0))
  batch, _ = _take(buffer, _all_prompts(), jnp.asarray(1), config)
  np.testing.assert_array_equal(
    batch.old_logprobs, [[-12.0] * _LENGTH, [-11.0] * _LENGTH]
  )


def test_a_row_goes_in_waits_and_comes_out():
  config = replay.ReplayConfig(4, 4, 2, min_age=1, max_age=2)
  new = _candidates(_rollouts(_of(4, 2, 0), [0.1, 0.9, 0.5]), jnp.asarray(3), 4)
  buffer = _put(replay.empty(4, new.completion_tokens.shape[1]), new)
  rows = []
  for step in (3, 4, 5, 6):
    now = jnp.asarray(step)
    buffer = _refreshed(buffer, jnp.full(4, 0.5), now, config)
    batch, _ = _take(buffer, _all_prompts(100), now, config)
    rows.append(float(jnp.sum(batch.valid)))
  assert rows == [0.0, 2.0, 2.0, 0.0]


_settings = functools.partial(dict, capacity=8, insert_rows=4, replay_rows=4)


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(insert_rows=9), "capacity is 8, but insert_rows is 9: put in at"),
    (dict(insert_rows=0), "capacity is 8, but insert_rows is 0: put in at"),
    (dict(replay_rows=9), "replay_rows is 9: take out at least 1"),
    (dict(replay_rows=0), "replay_rows is 0: take out at least 1"),
    (dict(min_age=0), "min_age is 0, max_age 4: a row is 1 step old"),
    (dict(min_age=5), "min_age is 5, max_age 4: a row is 1 step old"),
    (dict(anchor="old"), "anchor is 'old': choose recomputed or stored"),
  ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
  with pytest.raises(errors.UserError) as caught:
    replay.ReplayConfig(**(_settings() | changes))
  assert str(caught.value).startswith("config.replay." + message)
  assert "\n" not in str(caught.value)


def test_without_slots_nothing_has_to_be_set():
  assert replay.ReplayConfig().capacity == 0
