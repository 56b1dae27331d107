"""Plans before sampling, and what is remembered of rollouts after."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlvr_jax import binding
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import records
from rlvr_jax import schedules
from rlvr_jax.data import replay as replay_lib
from rlvr_jax.data import selection
from rlvr_jax.metrics import calibration
from tests import testing

_PROMPTS = 20
_LENGTH = 6
_METHOD = objective_lib.Objective(
  sequence_loss=objective_lib.bound(
    losses.trajectory_balance, anchor_logprobs="old_logprobs"
  ),
  scalars={"inv_temp": schedules.Schedule(20.0)},
)
_REPLAY = replay_lib.ReplayConfig(capacity=6, insert_rows=3, replay_rows=2)
_nearest = functools.partial(binding.bound, selection.nearest_accuracy)


def _head(kind="table", **changes):
  config = partition_head.LogPartitionConfig(
    optimizer=optimizers.OptimizerConfig(learning_rate=1e-3),
    kind=kind,
    **changes,
  )
  return partition_head.Head(config, optax.sgd(0.1))


def _curriculum(**changes):
  settings = dict(
    select=_nearest(),
    batch_size=4,
    candidates=curriculum_lib.CandidatesConfig(),
    max_rounds=1,
    replay=replay_lib.ReplayConfig(),
    head=_head(),
    method=_METHOD,
  )
  return curriculum_lib.Curriculum(**(settings | changes))


def _prompts():
  prompts = testing.prompt_batch(_PROMPTS, 5)
  return prompts.replace(prompt_ids=jnp.arange(_PROMPTS))


def _estimates():
  """Prompt 7 is at 0.5, then 8, 6, 9, ...; the last ones lie above 1."""
  return 0.51 + 0.06 * (jnp.arange(float(_PROMPTS)) - 7.0)


def _state(step=0, **changes):
  return records.TrainState(
    step=jnp.asarray(step, jnp.int32),
    seed=jnp.asarray(3, jnp.int32),
    params={},
    opt_state={},
    log_partition={"table": _estimates()},
    prompt_stats=curriculum_lib.new_stats(_PROMPTS),
  ).replace(**changes)


def _planner(curriculum):
  """Compiled `curriculum.plan` for the prompts above."""
  plan = jax.jit(functools.partial(curriculum_lib.plan, curriculum=curriculum))

  def run(state, measured=None, sampling_round=0):
    found, buffer, metrics = plan(state, _prompts(), measured, sampling_round)
    return found, buffer, {k: float(v) for k, v in metrics.items()}

  return run


def _plan(state, curriculum, measured=None):
  return _planner(curriculum)(state, measured)


def test_a_uniform_plan_is_that_of_the_step():
  curriculum = _curriculum(select=binding.bound(selection.uniform), head=None)
  plan = _planner(curriculum)
  for step in (0, 3):
    state = _state(step, prompt_stats=None, log_partition=None)
    found, buffer, metrics = plan(state)
    ids, _ = selection.uniform(
      seed=3, step=step, num_prompts=_PROMPTS, batch_size=4
    )
    np.testing.assert_array_equal(found.prompts.prompt_ids, ids)
    np.testing.assert_array_equal(
      found.prompts.prompt_tokens, _prompts().prompt_tokens[ids]
    )
    assert found.prompts.accuracy_estimates is None
    assert found.replayed is None and buffer is None and metrics == {}
  assert not curriculum.estimates


def test_rounds_of_a_step_go_on_within_the_epoch():
  curriculum = _curriculum(
    select=binding.bound(selection.uniform), head=None, max_rounds=2
  )
  state = _state(prompt_stats=None, log_partition=None)
  plan = _planner(curriculum)
  ids = [
    plan(state.replace(step=jnp.asarray(step)), sampling_round=number)[
      0
    ].prompts.prompt_ids.tolist()
    for step in (0, 1)
    for number in (0, 1)
  ]
  assert len(set(sum(ids, []))) == 16


def test_a_head_estimates_all_prompts():
  found, _, metrics = _plan(_state(), _curriculum())
  chosen = found.prompts
  np.testing.assert_array_equal(chosen.prompt_ids, [7, 6, 8, 5])
  np.testing.assert_allclose(
    chosen.accuracy_estimates, [0.51, 0.45, 0.57, 0.39], rtol=1e-5
  )
  np.testing.assert_array_equal(chosen.explored, [0, 0, 0, 0])
  expected = _estimates()
  np.testing.assert_allclose(
    [
      metrics.pop("curriculum/estimate_mean"),
      metrics.pop("curriculum/estimate_std"),
    ],
    [expected.mean(), expected.std()],
    rtol=1e-5,
  )
  assert not metrics


def test_estimates_are_those_of_padded_embeddings_too():
  """Embeddings may have more rows than there are prompts."""
  head = _head("mlp")
  embeddings = jax.random.normal(jax.random.key(0), (_PROMPTS + 4, 16))
  prompts = _prompts().replace(embeddings=embeddings)
  params = head.init(jax.random.key(1), _PROMPTS, 16, jnp.asarray(0.4))
  params["value"]["kernel"] = 0.1 * embeddings[:1].T
  plan = functools.partial(
    curriculum_lib.plan, curriculum=_curriculum(head=head)
  )
  found, _, metrics = jax.jit(plan)(
    _state(log_partition=params), prompts, None, 0
  )
  own = prompts.replace(embeddings=embeddings[:_PROMPTS])
  estimates = head.accuracy(params, own, jnp.asarray(20.0))
  nearest = np.argsort(np.abs(np.clip(estimates, 0, 1) - 0.5))[:4]
  np.testing.assert_array_equal(found.prompts.prompt_ids, nearest)
  np.testing.assert_allclose(
    metrics["curriculum/estimate_mean"], estimates.mean(), rtol=1e-5
  )


def test_measured_candidates_stand_for_all():
  """Sampled accuracies, without any head; others cannot be chosen."""
  candidates = curriculum_lib.CandidatesConfig(5, 4)
  curriculum = _curriculum(candidates=candidates, head=None)
  measured = curriculum_lib.Measured(
    jnp.asarray([19, 3, 4, 11, 0]), jnp.asarray([0.75, 0.0, 0.5, 1.0, 0.25])
  )
  state = _state(log_partition=None)
  found, _, metrics = _plan(state, curriculum, measured)
  ids = found.prompts.prompt_ids.tolist()
  assert ids[0] == 4 and set(ids[1:3]) == {19, 0} and ids[3] in (3, 11)
  by_id = dict(zip([19, 3, 4, 11, 0], [0.75, 0.0, 0.5, 1.0, 0.25], strict=True))
  np.testing.assert_array_equal(
    found.prompts.accuracy_estimates, [by_id[i] for i in ids]
  )
  np.testing.assert_allclose(metrics["curriculum/estimate_mean"], 0.5)
  assert curriculum.estimates and not curriculum.head_estimates


def test_a_head_can_estimate_a_pool_alone():
  candidates = curriculum_lib.CandidatesConfig(6, 0)
  curriculum = _curriculum(candidates=candidates)
  state = _state(step=2)
  pool = curriculum_lib.pool(_prompts(), state.seed, state.step, 6).prompt_ids
  found, _, metrics = _plan(state, curriculum)
  distance = np.abs(np.clip(_estimates()[pool], 0, 1) - 0.5)
  np.testing.assert_array_equal(
    found.prompts.prompt_ids, pool[np.argsort(distance)[:4]]
  )
  np.testing.assert_allclose(
    metrics["curriculum/estimate_mean"], _estimates()[pool].mean(), rtol=1e-5
  )


def test_a_live_head_estimates_nothing_before_sampling():
  head = _head("mlp", embedding="live")
  curriculum = _curriculum(select=binding.bound(selection.uniform), head=head)
  assert not curriculum.estimates and not curriculum.head_estimates
  assert _curriculum(head=_head("mlp")).head_estimates


def test_candidates_are_drawn_without_replacement():
  drawn = [
    curriculum_lib.pool(_prompts(), jnp.asarray(0), jnp.asarray(step), 13)
    for step in range(8)
  ]
  ids = [pool.prompt_ids.tolist() for pool in drawn]
  assert all(len(set(some)) == 13 for some in ids)
  assert len({tuple(some) for some in ids}) == 8
  np.testing.assert_array_equal(
    drawn[0].prompt_tokens, _prompts().prompt_tokens[jnp.asarray(ids[0])]
  )
  more = curriculum_lib.pool(_prompts(), jnp.asarray(0), jnp.asarray(0), 30)
  assert set(more.prompt_ids.tolist()) == set(range(_PROMPTS))


def test_what_is_measured_is_the_share_of_judged_samples():
  batch = testing.rollout_batch(2, 4)
  batch = batch.replace(
    is_correct=jnp.asarray([1.0, 0, 0, 0, 1, 1, 0, 1]),
    valid=jnp.asarray([1.0, 1, 1, 0, 1, 1, 1, 1]),
  )
  found = curriculum_lib.measure(batch)
  np.testing.assert_array_equal(found.prompt_ids, batch.prompts.prompt_ids)
  np.testing.assert_allclose(found.accuracy, [1 / 3, 3 / 4])


def _rollouts(ids, estimates):
  """Of each prompt two samples, the first right."""
  batch = testing.rollout_batch(len(ids), 2, length=_LENGTH)
  return batch.replace(
    prompts=batch.prompts.replace(
      prompt_ids=jnp.asarray(ids),
      accuracy_estimates=jnp.asarray(estimates, jnp.float32),
    )
  )


def _observe(state, rollouts, replay=_REPLAY):
  observe = functools.partial(curriculum_lib.observe, replay=replay)
  return jax.jit(observe)(state, rollouts)


def test_visits_are_counted():
  state = _observe(_state(step=1), _rollouts([3, 7], [0.5, 0.5]))
  state = _observe(
    state.replace(step=jnp.asarray(6)), _rollouts([7, 9], [0.5, 0.1])
  )
  stats = state.prompt_stats
  counted = {i: int(v) for i, v in enumerate(stats.visits) if v}
  assert counted == {3: 1, 7: 2, 9: 1}
  # The rollouts are those of the step before the update counted it.
  last = {i: int(v) for i, v in enumerate(stats.last_steps) if v >= 0}
  assert last == {3: 0, 7: 5, 9: 5}


def test_the_excess_error_is_that_of_the_last_batch():
  rollouts = _rollouts([3, 7], [0.9, 0.1])
  state = _observe(_state(step=1), rollouts)
  expected = calibration.calibration(rollouts)["curriculum/excess_error"]
  np.testing.assert_allclose(
    state.prompt_stats.excess_error, expected, rtol=1e-6
  )
  unknown = rollouts.replace(
    prompts=rollouts.prompts.replace(accuracy_estimates=None)
  )
  state = _observe(_state(step=1), unknown)
  assert np.isinf(state.prompt_stats.excess_error)


def test_states_without_memory_stay_as_they_are():
  state = _state(step=1, prompt_stats=None)
  jax.tree.map(
    np.testing.assert_array_equal,
    _observe(state, _rollouts([3, 7], [0.5, 0.5])),
    state,
  )


def test_a_right_response_comes_back_a_step_later():
  plan = _planner(_curriculum(replay=_REPLAY))
  state = _state(replay=replay_lib.empty(6, _LENGTH))
  found, buffer, metrics = plan(state)
  np.testing.assert_array_equal(found.replayed.valid, [0, 0])
  assert metrics["replay/rows"] == 0
  # Shares of 1/2 against these estimates: errors .4, .1, .5, .3.
  rollouts = _rollouts([3, 7, 8, 11], [0.9, 0.4, 1.2, 0.2])
  state = _observe(state.replace(step=jnp.asarray(1), replay=buffer), rollouts)
  assert sorted(state.replay.prompt_ids[state.replay.filled > 0].tolist()) == [
    3,
    8,
    11,
  ]
  found, buffer, metrics = plan(state)
  # By the head's present estimates: |1/2 - 0.27|, |1/2 - 0.57|, |1/2 - 0.75|.
  np.testing.assert_array_equal(found.replayed.prompts.prompt_ids, [11, 3])
  np.testing.assert_array_equal(found.replayed.valid, [1, 1])
  np.testing.assert_allclose(
    sorted(buffer.priority[buffer.filled > 0].tolist()),
    [0.07, 0.23, 0.25],
    rtol=1e-4,
  )
  assert metrics["replay/rows"] == 2 and metrics["replay/age"] == 1
  # After max_age it is gone, from the buffer too.
  late = state.replace(step=jnp.asarray(_REPLAY.max_age + 1))
  found, buffer, metrics = plan(late)
  assert metrics["replay/rows"] == 0
  np.testing.assert_array_equal(buffer.filled, [0] * 6)


def test_a_plan_reads_the_memory_that_selection_names():
  """The nearest prompts rest after a visit."""
  curriculum = _curriculum(select=_nearest(no_repeat_frac=0.5))
  state = _observe(_state(step=1), _rollouts([7, 6], [0.5, 0.5]))
  found, _, _ = _plan(state, curriculum)
  np.testing.assert_array_equal(found.prompts.prompt_ids, [8, 5, 9, 4])


def test_the_log_partition_is_scaled_by_the_kappa_of_the_step():
  """A head in nats: its accuracy estimate follows the schedule."""
  method = _METHOD._replace(
    scalars={"inv_temp": schedules.Schedule(10.0, 20.0, 10)}
  )
  curriculum = _curriculum(head=_head(units="nats"), method=method)
  state = _state(step=5, log_partition={"table": 15.0 * _estimates()})
  found, _, _ = _plan(state, curriculum)
  np.testing.assert_array_equal(found.prompts.prompt_ids, [7, 6, 8, 5])
