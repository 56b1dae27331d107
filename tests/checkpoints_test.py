"""Checkpoints: exact, whole, of the right shape, and cut off by no kill."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax import sharding


def _state(seed=0):
  params = {
    "matrix": jax.random.normal(jax.random.key(seed), (8, 4)),
    "vector": jnp.arange(4, dtype=jnp.float32) / 3,
  }
  return records.TrainState(
    step=jnp.asarray(7, jnp.int32),
    seed=jnp.asarray(seed, jnp.int32),
    params=params,
    opt_state=optax.adamw(1e-3).init(params),
  )


def _like(state, mesh=None):
  mesh = mesh or sharding.make_mesh(sharding.MeshConfig())
  whole = sharding.replicated(mesh)
  return checkpoints.abstract(state, jax.tree.map(lambda _: whole, state))


def _assert_equal(ours, theirs):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_state_comes_back_exactly(tmp_path):
  state = _state()
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_step() is None
    saved.save(7, state, {"note": "x"})
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_step() == 7
    assert saved.meta(7)["note"] == "x"
    _assert_equal(saved.restore(7, _like(state)), state)


def test_a_reference_comes_back_and_its_absence_is_no_reference(tmp_path):
  plain = _state()
  referred = plain.replace(ref_params=_state(seed=1).params)
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    saved.save(1, plain, {})
    saved.save(2, referred, {})
    _assert_equal(saved.restore(1, _like(plain)), plain)
    _assert_equal(saved.restore(2, _like(referred)), referred)
    with pytest.raises(errors.UserError, match="ref_params.matrix has shape"):
      saved.restore(1, _like(referred))


def test_a_state_comes_back_on_other_devices(tmp_path):
  state = _state()
  with checkpoints.Checkpoints(tmp_path, keep=1) as saved:
    saved.save(1, state, {})
    mesh = sharding.make_mesh(sharding.MeshConfig(data=4))
    restored = saved.restore(1, _like(state, mesh))
  assert len(restored.params["matrix"].sharding.device_set) == 4
  _assert_equal(jax.device_get(restored), jax.device_get(state))


def test_a_state_that_is_given_away_during_a_save_is_saved_as_it_was(tmp_path):
  # Large enough to be written for longer than a step takes.
  fresh = lambda: {"params": jnp.arange(3_000_000, dtype=jnp.float32)}
  change = jax.jit(lambda x: jax.tree.map(lambda y: -y, x), donate_argnums=0)
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    for step in (1, 2):
      state = fresh()
      saved.start(step, state, {})
      for _ in range(3):
        state = change(state)
      jax.block_until_ready(state)
    # The second start has settled the first save, and leaving the block this.
    assert saved.latest_step() == 1
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_step() == 2
    for step in (1, 2):
      _assert_equal(saved.restore(step, _like(fresh())), fresh())


def test_an_error_of_the_run_does_not_cost_the_save_before_it(tmp_path):
  with (
    pytest.raises(ZeroDivisionError),
    checkpoints.Checkpoints(tmp_path, keep=2) as saved,
  ):
    saved.start(1, _state(1), {})
    raise ZeroDivisionError
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_step() == 1


def test_the_newest_are_kept(tmp_path):
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    for step in (1, 2, 3):
      saved.save(step, _state(step), {})
    assert saved.latest_step() == 3
    _assert_equal(saved.restore(2, _like(_state())), _state(2))
  assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]


def test_an_older_step_is_refused_and_overwrites_nothing(tmp_path):
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    saved.save(5, _state(5), {})
    with pytest.raises(errors.UserError, match="already holds step 5"):
      saved.save(5, _state(6), {})
    _assert_equal(saved.restore(5, _like(_state())), _state(5))


def test_a_state_of_another_shape_is_refused(tmp_path):
  state = _state()
  other = state.replace(params=state.params | {"vector": jnp.zeros(5)})
  with checkpoints.Checkpoints(tmp_path, keep=1) as saved:
    saved.save(1, state, {})
    with pytest.raises(
      errors.UserError, match=r"params.vector has shape \(4,\) there and \(5,\)"
    ):
      saved.restore(1, _like(other))


def test_a_head_of_another_width_is_refused(tmp_path):
  state = _state()
  head = lambda width: state.replace(
    log_partition={"hidden_0": {"kernel": jnp.zeros((width, width))}}
  )
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    saved.save(1, head(4), {})
    for other, shape in ((head(6), r"\(6, 6\)"), (state, "None")):
      message = (
        r"log_partition\.hidden_0\.kernel has shape \(4, 4\) there and"
        f" {shape} in this run"
      )
      with pytest.raises(errors.UserError, match=message):
        saved.restore(1, _like(other))


def test_a_kill_before_the_checksums_leaves_the_one_before(tmp_path):
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    saved.save(1, _state(1), {})
    saved.save(2, _state(2), {})
  (tmp_path / "2" / "checksums.json").unlink()
  (tmp_path / "saving.json").write_text("2")
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_step() == 1
    saved.save(2, _state(2), {})
    _assert_equal(saved.restore(2, _like(_state())), _state(2))


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    saved.save(1, _state(), {})
  # What a kill inside a save leaves behind.
  (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
  (tmp_path / "2.orbax-checkpoint-tmp" / "state").mkdir()
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_step() == 1
    saved.save(2, _state(2), {})
    assert saved.latest_step() == 2
