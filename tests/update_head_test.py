"""The update of a policy and a log-partition head, with replayed rows."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import binding
from rlvr_jax import checkpoints
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import optimizers
from rlvr_jax import partition_head
from rlvr_jax import schedules
from rlvr_jax import sharding
from rlvr_jax import update
from rlvr_jax.data import replay as replay_lib
from rlvr_jax.data import selection
from tests import testing
from tests.laws import bigram

_VOCAB, _WIDTH = 11, 4
_KAPPA = 20.0
_SCALARS = {"inv_temp": schedules.Schedule(_KAPPA)}


def partition_alone(*, log_partition):
  """A loss through which only log Z can reach anything."""
  return log_partition**2


def _method(**settings):
  loss = objective_lib.bound(
    losses.trajectory_balance, anchor_logprobs="old_logprobs", **settings
  )
  return objective_lib.Objective(sequence_loss=loss, scalars=_SCALARS)


_PACED = _method(units="accuracy")
_FAITHFUL = _method()
_ALONE = objective_lib.Objective(
  sequence_loss=objective_lib.bound(partition_alone), scalars=_SCALARS
)
_VARGRAD = objective_lib.Objective(
  sequence_loss=objective_lib.bound(
    losses.trajectory_balance,
    anchor_logprobs="ref_logprobs",
    log_partition="vargrad_log_z",
  ),
  derived=(
    objective_lib.bound(losses.vargrad_log_z, anchor_logprobs="ref_logprobs"),
  ),
  scalars=_SCALARS,
)


@functools.cache
def _model():
  return bigram.bigram_model(_VOCAB)


def _head(optimizer=None, joint_clip_norm=0.0, **config):
  config = partition_head.LogPartitionConfig(
    optimizer=optimizers.OptimizerConfig(learning_rate=1e-2), **config
  )
  optimizer = optimizer or optax.sgd(1.0)
  return partition_head.Head(config, optimizer, joint_clip_norm)


def _fresh(num_prompts=4, samples=2, seed=0):
  """Rollouts of prompts with embeddings."""
  batch = testing.rollout_batch(num_prompts, samples, seed=seed)
  embeddings = jax.random.normal(jax.random.key(seed), (num_prompts, _WIDTH))
  return batch.replace(prompts=batch.prompts.replace(embeddings=embeddings))


def _replayed(num_rows=8):
  """Right responses, each with a prompt of its own; one only fills up."""
  batch = _fresh(num_rows, 1, seed=7)
  valid = jnp.ones(num_rows).at[num_rows // 2].set(0.0)
  absent = (
    "finished",
    "decode_steps",
    "sampler_logprobs",
    "log_kept_mass",
    "frozen_entropies",
    "frozen_mean_logprobs",
    "outcomes",
  )
  return batch.replace(
    valid=valid, rewards=valid, is_correct=valid, **dict.fromkeys(absent)
  )


def _noisy(params, seed=0):
  leaves, structure = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  moved = [
    x + 0.1 * jnp.asarray(rng.normal(size=x.shape), x.dtype) for x in leaves
  ]
  return jax.tree.unflatten(structure, moved)


def _state(optimizer, head=None, initial=0.3):
  """A policy off its reference, and a head that tells prompts apart."""
  params = _model()[1]
  state = testing.train_state(_noisy(params), optimizer)
  state = state.replace(ref_params=params)
  if not head:
    return state
  values = head.init(jax.random.key(1), 100, _WIDTH, jnp.asarray(initial))
  if head.config.kind == "mlp":
    values = _noisy(values)
  return state.replace(
    log_partition=values, log_partition_opt_state=head.optimizer.init(values)
  )


def _train_step(method, optimizer, head, **settings):
  config = {
    name: settings.pop(name)
    for name in ("num_minibatches", "num_micro_batches")
    if name in settings
  }
  return functools.partial(
    update.train_step,
    model=_model()[0],
    method=method,
    optimizer=optimizer,
    config=update.UpdateConfig(**config),
    head=head,
    **settings,
  )


def _run(
  method, head, fresh, replayed, optimizer=None, initial=0.3, **settings
):
  """One update by plain gradient descent: moves are minus the gradients."""
  optimizer = optimizer or optax.sgd(1.0)
  step = jax.jit(_train_step(method, optimizer, head, **settings))
  state = _state(optimizer, head, initial)
  # Optax mixes integers and floats inside Adam.
  with jax.numpy_dtype_promotion("standard"):
    after, metrics = step(state, fresh, replayed)
  moved = lambda name: jax.tree.map(
    jnp.subtract, getattr(after, name), getattr(state, name)
  )
  heads = moved("log_partition") if head else None
  return moved("params"), heads, metrics


def _assert_close(found, expected, rtol=1e-4):
  """Relative to the largest entry of the whole tree."""
  scale = max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(expected))
  assert scale > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale),
    found,
    expected,
  )


@functools.cache
def _paced(**settings):
  return _run(_PACED, _head(), _fresh(), _replayed(), **settings)


@pytest.mark.parametrize("num_micro_batches", [2, 8])
def test_micro_batches_do_not_change_a_step_with_replayed_rows(
  num_micro_batches,
):
  policy, head, metrics = _paced()
  parts = _paced(num_micro_batches=num_micro_batches)
  _assert_close(parts[0], policy)
  _assert_close(parts[1], head)
  assert metrics.keys() == parts[2].keys()
  for name, value in metrics.items():
    np.testing.assert_allclose(
      parts[2][name], value, rtol=1e-4, atol=1e-6, err_msg=name
    )


@pytest.mark.parametrize("name", ["paced", "vargrad"])
def test_micro_batches_do_not_change_minibatches(name):
  """Four parts of a minibatch of two prompts take their rows apart."""
  paced = name == "paced"
  run = functools.partial(
    _run,
    _PACED if paced else _VARGRAD,
    _head(kind="table") if paced else None,
    _fresh(),
    _replayed() if paced else None,
    # Small steps, or rounding grows from the first minibatch to the second.
    optimizer=optax.sgd(1e-3),
    num_minibatches=2,
  )
  whole, parts = run(), run(num_micro_batches=4)
  _assert_close(parts[0], whole[0])
  if paced:
    _assert_close(parts[1], whole[1])
  for metric, value in whole[2].items():
    np.testing.assert_allclose(
      parts[2][metric], value, rtol=1e-3, atol=1e-5, err_msg=metric
    )


def test_replayed_rows_count_as_much_as_fresh_ones():
  """The loss is a mean over all rows that count: 8 fresh, 7 replayed."""
  unjudged = lambda batch: batch.replace(valid=jnp.zeros_like(batch.valid))
  fresh, replayed = _fresh(), _replayed()
  head = _head()
  step = jax.jit(_train_step(_PACED, optax.sgd(1.0), head))
  measure = functools.partial(step, _state(optax.sgd(1.0), head))
  together, first, second = (
    measure(*batches)[1]
    for batches in (
      (fresh, replayed),
      (fresh, unjudged(replayed)),
      (unjudged(fresh), replayed),
    )
  )
  loss = "policy/loss"
  np.testing.assert_allclose(
    together[loss], (8 * first[loss] + 7 * second[loss]) / 15, rtol=1e-5
  )
  # By default they move the policy and leave the head alone.
  assert second["policy/grad_norm"] > 0
  assert second["log_partition/grad_norm"] == 0
  head = _head(learns_from_replay=True)
  metrics = _run(_PACED, head, unjudged(fresh), replayed)[2]
  assert metrics["log_partition/grad_norm"] > 0


@pytest.mark.parametrize("embedding", ["initial", "live"])
def test_log_z_reaches_the_policy_through_live_embeddings_alone(embedding):
  head = _head(embedding=embedding)
  policy, _, metrics = _run(_ALONE, head, _fresh(), _replayed())
  assert metrics["log_partition/grad_norm"] > 0
  if embedding == "initial":
    assert all(np.all(x == 0) for x in jax.tree.leaves(policy))
    assert metrics["log_partition/drift"] > 0
  else:
    assert np.abs(policy["embedding"]).max() > 1e-3
    # Prompts are read; nothing is predicted.
    assert np.all(policy["lm_head"] == 0)


@pytest.mark.parametrize(
  "kind, learns_from_replay, expected",
  [("scalar", False, 0.25), ("table", True, 1 / 3)],
)
def test_right_responses_alone_would_bias_the_head(
  kind, learns_from_replay, expected
):
  """Two right of eight, and one of the two replayed."""
  rewards = jnp.asarray([1.0, 1.0] + [0.0] * 6)
  fresh = _fresh(1, 8).replace(rewards=rewards, is_correct=rewards)
  replayed = _replayed(2).replace(
    prompts=jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), fresh.prompts),
    valid=jnp.asarray([1.0, 0.0]),
  )
  head = _head(
    optax.sgd(0.25), kind=kind, learns_from_replay=learns_from_replay
  )
  step = _train_step(_PACED, optax.sgd(0.0), head)
  run = lambda state: lax.scan(
    lambda state, _: step(state, fresh, replayed), state, length=40
  )
  state, metrics = jax.jit(run)(_state(optax.sgd(0.0), head, initial=0.5))
  found = head.accuracy(state.log_partition, fresh.prompts, jnp.asarray(_KAPPA))
  np.testing.assert_allclose(found, [expected], atol=1e-6)
  np.testing.assert_allclose(
    head.log_partition(state.log_partition, fresh.prompts, jnp.asarray(_KAPPA)),
    [_KAPPA * expected],
    rtol=1e-5,
  )
  # A step of a quarter of the gradient, 2 (f - r) over the nine rows.
  rows = 9 if learns_from_replay else 8
  first = 0.25 * 2 * rows / 9 * (0.5 - expected)
  np.testing.assert_allclose(
    metrics["log_partition/drift"][0], first, rtol=1e-5
  )
  np.testing.assert_allclose(metrics["log_partition/drift"][-1], 0.0, atol=1e-6)


def _norm(*trees):
  return float(optax.tree.norm(trees))


def test_a_joint_clip_bounds_the_joint_norm():
  policy, head, metrics = _paced()
  joint = _norm(policy, head)
  assert joint > 0.2
  found = _run(_PACED, _head(joint_clip_norm=0.2), _fresh(), _replayed())
  np.testing.assert_allclose(_norm(*found[:2]), 0.2, rtol=1e-5)
  # One factor for both, and norms are told as they were before.
  shrunk = lambda tree: jax.tree.map(lambda x: x * 0.2 / joint, tree)
  _assert_close(found[0], shrunk(policy))
  _assert_close(found[1], shrunk(head))
  for name in ("policy/grad_norm", "log_partition/grad_norm"):
    np.testing.assert_allclose(found[2][name], metrics[name], rtol=1e-5)


def test_a_huge_gradient_of_the_head_leaves_the_policys_step_alone():
  """The same log Z in two units: one head's gradient is 20 times larger."""
  clipped = optimizers.make_optimizer(
    optimizers.OptimizerConfig(learning_rate=1e-2, clip_norm=1.0)
  )
  run = lambda units, initial: _run(
    _FAITHFUL,
    _head(clipped, kind="scalar", units=units),
    _fresh(),
    None,
    clipped,
    initial=initial,
  )
  huge, plain = run("accuracy", 0.3), run("nats", 0.3 * _KAPPA)
  gradients = [found[2]["log_partition/grad_norm"] for found in (huge, plain)]
  np.testing.assert_allclose(gradients[0], _KAPPA * gradients[1], rtol=1e-5)
  assert gradients[0] > 50.0
  _assert_close(huge[0], plain[0], rtol=1e-5)
  # Each took a whole step of Adam of its own.
  for _, head, _ in (huge, plain):
    np.testing.assert_allclose(np.abs(head["scalar"]), 1e-2, rtol=1e-4)


_ADAM = optax.adamw(1e-3)


def _many_steps(devices, steps=4):
  """Losses, and the state after updates on a mesh of so many devices."""
  mesh = sharding.make_mesh(sharding.MeshConfig(data=devices))
  rows, whole = sharding.row_sharding(mesh), sharding.replicated(mesh)
  head = _head(optax.adamw(1e-2))
  step = jax.jit(
    _train_step(_PACED, _ADAM, head),
    in_shardings=(whole, rows, rows),
    out_shardings=(whole, whole),
  )
  state = jax.device_put(_state(_ADAM, head), whole)
  batch = jax.device_put((_fresh(8), _replayed(8)), rows)
  found = []
  with jax.numpy_dtype_promotion("standard"):
    for _ in range(steps):
      state, metrics = step(state, *batch)
      found.append(float(metrics["policy/loss"]))
  return found, state


def test_devices_share_an_update_and_keep_the_same_head():
  expected, _ = _many_steps(1)
  assert expected[-1] < expected[0]
  for devices in (2, 8):
    found, state = _many_steps(devices)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    heads = (state.log_partition, state.log_partition_opt_state)
    for leaf in jax.tree.leaves(heads):
      copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
      assert len(copies) == devices
      for copy in copies[1:]:
        np.testing.assert_array_equal(copy, copies[0])


_REPLAY = replay_lib.ReplayConfig(capacity=8, insert_rows=4, replay_rows=4)


def _remembering_step():
  """(state, round) -> (state, metrics): plan, made-up rollouts, update."""
  head = _head(optax.adamw(1e-2))
  prompts = testing.prompt_batch(12, 5).replace(
    prompt_ids=jnp.arange(12),
    embeddings=jax.random.normal(jax.random.key(2), (12, _WIDTH)),
  )
  curriculum = curriculum_lib.Curriculum(
    select=binding.bound(
      selection.nearest_accuracy, no_repeat_frac=0.5, explore_frac=0.25
    ),
    batch_size=4,
    candidates=curriculum_lib.CandidatesConfig(),
    max_rounds=1,
    replay=_REPLAY,
    head=head,
    method=_PACED,
  )
  train_step = _train_step(
    _PACED,
    _ADAM,
    head,
    observe=functools.partial(curriculum_lib.observe, replay=_REPLAY),
  )

  def step(state, rollouts):
    plan, buffer, planned = curriculum_lib.plan(
      state, prompts, None, 0, curriculum=curriculum
    )
    rollouts = rollouts.replace(prompts=plan.prompts)
    state, metrics = train_step(
      state.replace(replay=buffer), rollouts, plan.replayed
    )
    return state, planned | metrics

  state = _state(_ADAM, head).replace(
    prompt_stats=curriculum_lib.new_stats(12),
    replay=replay_lib.empty(_REPLAY.capacity, 6),
  )
  return jax.jit(step), state


def test_a_run_goes_on_from_a_checkpoint_with_the_same_numbers(tmp_path):
  step, state = _remembering_step()
  rollouts = lambda number: testing.rollout_batch(4, 2, seed=number)
  with jax.numpy_dtype_promotion("standard"):
    for number in range(3):
      state, metrics = step(state, rollouts(number))
    assert metrics["replay/rows"] > 0
    assert jnp.sum(state.prompt_stats.visits) == 12
    whole = sharding.replicated(sharding.make_mesh(sharding.MeshConfig()))
    with checkpoints.Checkpoints(tmp_path, keep=1) as saved:
      saved.save(3, state, {})
      like = checkpoints.abstract(state, jax.tree.map(lambda _: whole, state))
      restored = saved.restore(3, like)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    one, other = (step(s, rollouts(3)) for s in (state, restored))
  jax.tree.map(np.testing.assert_array_equal, one, other)
  assert one[0].step == 4
