"""Many updates with a head: over devices, and from a checkpoint on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlvr_jax import binding
from rlvr_jax import checkpoints
from rlvr_jax import curriculum as curriculum_lib
from rlvr_jax import sharding
from rlvr_jax.data import replay as replay_lib
from rlvr_jax.data import selection
from tests import head_updates
from tests import testing

_WIDTH = head_updates.WIDTH
_PACED = head_updates.PACED
_head = head_updates.head
_fresh = head_updates.fresh
_replayed = head_updates.replayed
_state = head_updates.state
_train_step = head_updates.train_step
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
