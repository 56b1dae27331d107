"""Columns of one program are the runs that they would be alone."""

import dataclasses
import functools
import importlib

import jax
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import gather
from rlvr_jax import programs as programs_lib
from rlvr_jax import sharding
from rlvr_jax import teaching
from rlvr_jax.data import tasks
from rlvr_jax.laboratory import columns as columns_lib
from rlvr_jax.laboratory import lockstep
from tests import runs

# Of files that have more parts than GRPO's.
_OWN = {
  "paced_rl": {
    "log_partition.probe_prompts": 8,
    "selection.warmup_steps": 1,
    "replay.capacity": 8,
    "replay.insert_rows": 4,
    "replay.replay_rows": 4,
  },
  "rlrt": {"teacher.rows_per_pass": 0},
  "dapo": {"refill.max_rounds": 3},
}
_STEPS = 3


def _experiment(name="grpo", seed=0, **changes):
  config = importlib.import_module(f"experiments.{name}").get_config("tiny")
  changes = {key.replace("__", "."): x for key, x in changes.items()}
  config.update_from_flattened_dict(runs.QUICK | _OWN.get(name, {}) | changes)
  return experiment_lib.load(config.to_dict() | {"seed": seed})


@pytest.fixture(autouse=True)
def _standard_promotion():
  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    yield


@pytest.fixture(scope="module")
def task_of(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")

  def load(experiment):
    run = experiment.run
    return tasks.load_task(
      run.data, run.rollout.completion_tokens, folder, teaching.hints(run)
    )

  return load


def _locked(experiments, task, *layout):
  columns = columns_lib.columns(experiments)
  return lockstep.make_lockstep(columns, task, columns_lib.Layout(*layout))


def _trained(lock, steps=_STEPS):
  """Train states from fresh parameters, and metrics [steps, C]."""
  params = lock.fresh(None, None).params
  begun, probed = lock.begin(params, lock.task.train.prompts)
  state, metrics = lockstep.trained(lock, begun, steps)
  return state, metrics, probed


def _by_the_host(experiment, task, steps=_STEPS):
  """The same as `train.loop` has it: parameters, and metrics [steps]."""
  run = experiment.run
  mesh = sharding.make_mesh(run.mesh)
  programs = programs_lib.make_programs(experiment, task, mesh)
  params = programs.warm_start.fresh().params
  initial, probed = gather.initial_log_partition(run, programs, params)
  prompts = programs.task.train.prompts
  if programs.embed:
    prompts = prompts.replace(embeddings=programs.embed(params, prompts))
  state, found = programs.train.adopt(params, initial), []
  for _ in range(steps):
    state, rollouts, replayed, metrics = gather.gather(
      run, programs, state, prompts
    )
    if programs.teach:
      rollouts, taught = programs.teach(state, rollouts)
      metrics |= taught
    state, updated = programs.train_step(state, rollouts, replayed)
    found.append(jax.device_get(metrics | updated))
  return state, {k: np.stack([x[k] for x in found]) for k in found[0]}, probed


def _assert_column(ours, number, theirs, **tolerance):
  """One column of a pytree is another pytree."""
  check = functools.partial(np.testing.assert_allclose, **tolerance)
  if not tolerance:
    check = np.testing.assert_array_equal
  jax.tree.map(lambda x, y: check(x[number], y), ours, theirs)


@pytest.mark.parametrize(
  "name",
  [
    "grpo",
    pytest.param("rlrt", marks=pytest.mark.slow),
    pytest.param("paced_rl", marks=pytest.mark.slow),
    pytest.param("dapo", marks=pytest.mark.slow),
  ],
)
def test_seeds_in_lockstep_are_the_runs_they_are_alone(task_of, name):
  experiments = [_experiment(name, seed) for seed in range(3)]
  task = task_of(experiments[0])
  state, metrics, probed = _trained(_locked(experiments, task))
  alone, own, own_probed = _trained(_locked(experiments[2:], task))
  first = lambda tree: jax.tree.map(lambda x: x[0], tree)
  _assert_column(state, 2, first(alone))
  by_column = lambda found: {k: x.T for k, x in found.items()}
  _assert_column(by_column(metrics), 2, first(by_column(own)))
  _assert_column(probed, 2, first(own_probed))
  by_host, told, told_probed = _by_the_host(experiments[1], task)
  close = dict(rtol=2e-5, atol=2e-6)
  _assert_column(state.state.params, 1, by_host.params, **close)
  assert metrics.keys() == told.keys()
  _assert_column(by_column(metrics), 1, told, **close)
  _assert_column(probed, 1, told_probed, **close)
  # Seeds are different runs.
  assert np.any(metrics["policy/loss"][:, 0] != metrics["policy/loss"][:, 1])


@pytest.mark.parametrize(
  "layout",
  [
    ("map", 2),
    pytest.param(("vmap", 1), marks=pytest.mark.slow),
    pytest.param(("vmap", 2), marks=pytest.mark.slow),
  ],
)
def test_swept_numbers_are_two_runs_in_any_layout(task_of, layout):
  rates = (5e-4, 2e-3)
  experiments = [
    _experiment(seed=1, optimizer__learning_rate=rate) for rate in rates
  ]
  task = task_of(experiments[0])
  state, metrics, _ = _trained(_locked(experiments, task, *layout))
  alone, own, _ = _trained(_locked(experiments[1:], task))
  both = lambda state, metrics: (
    state.state.params,
    {k: x.T for k, x in metrics.items()},
  )
  theirs = jax.tree.map(lambda x: x[0], both(alone, own))
  _assert_column(both(state, metrics), 1, theirs, rtol=2e-5, atol=2e-6)
  assert np.any(metrics["policy/loss"][-1, 0] != metrics["policy/loss"][-1, 1])


def test_a_seed_stops_its_warm_start_at_its_own_target(task_of):
  seeds = [_experiment(seed=seed) for seed in range(2)]
  task, told = task_of(seeds[0]), []
  lock = _locked(seeds, task)
  whole = lockstep.warm_started(lock, lambda *x: told.append(x))
  assert [step for step, _ in told] == [3, 6]
  middle = float(np.mean(told[0][1]))
  stops = int(np.argmax(told[0][1]))
  assert told[0][1][stops] > middle > told[0][1][1 - stops]
  # The program is the same: only the host looks at the target.
  run = seeds[0].run
  config = dataclasses.replace(run.warm_start, target_pass_at_1=middle)
  first = seeds[0]._replace(run=dataclasses.replace(run, warm_start=config))
  aimed = lock._replace(columns=lock.columns._replace(experiment=first))
  found = lockstep.warm_started(aimed, lambda *x: None)
  states, _ = lock.imitate(
    (lock.fresh(None, None), np.ones(2, bool)), (task.train, np.int32(0)), 3
  )
  column = lambda tree, number: jax.tree.map(lambda x: x[number], tree)
  _assert_column(found, stops, column(states.params, stops))
  _assert_column(found, 1 - stops, column(whole, 1 - stops))


@pytest.mark.slow
def test_a_warm_start_with_hints_is_the_hosts(task_of):
  experiment = _experiment("rlrt", seed=1)
  task = task_of(experiment)
  run = experiment.run
  lock = _locked([experiment], task)
  found = lockstep.warm_started(lock, lambda *x: None)
  mesh = sharding.make_mesh(run.mesh)
  programs = programs_lib.make_programs(experiment, task, mesh)
  state = programs.warm_start.fresh()
  for step in range(run.warm_start.num_steps):
    draw = programs.demonstrations
    if step % run.warm_start.hints.every == 0:
      draw = programs.hinted_demonstrations
    batch = draw(programs.task.train, state.seed, state.step)
    state, _ = programs.imitate(state, batch, None)
  _assert_column(found, 0, state.params, rtol=2e-5, atol=2e-6)


def test_what_needs_the_host_is_refused():
  run = _experiment().run
  texts = dataclasses.replace(run.data, verifier="math")
  with pytest.raises(errors.UserError, match="'math', which judges texts"):
    lockstep.check_on_device(dataclasses.replace(run, data=texts))
  warm_start = dataclasses.replace(run.warm_start, source="runs/other")
  with pytest.raises(errors.UserError, match="warm_start.source is 'runs/oth"):
    lockstep.check_on_device(dataclasses.replace(run, warm_start=warm_start))


def test_a_number_that_the_code_decides_by_is_refused(task_of):
  experiments = [_experiment(optimizer__clip_norm=x) for x in (0.0, 1.0)]
  task = task_of(experiments[0])
  with pytest.raises(errors.UserError) as caught:
    _locked(experiments, task)
  assert "config.optimizer.clip_norm takes 2 values" in str(caught.value)
