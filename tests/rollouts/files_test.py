"""What is written down comes back, and nothing else is taken for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax.rollouts import files as rollout_files
from tests import testing


def _same(ours, theirs) -> bool:
  equal = jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), ours, theirs)
  return all(jax.tree.leaves(equal))


def test_a_batch_comes_back_with_its_replayed_rows_and_hints(tmp_path):
  batch = testing.rollout_batch()
  hints = {"gold_answer": (jnp.ones((4, 2), jnp.int32), jnp.ones((4, 2)))}
  prompts = batch.prompts.replace(
    hints=hints, answers={"target": jnp.arange(4)}
  )
  batch = batch.replace(prompts=prompts)
  path = tmp_path / "new" / "folder" / "batch.npz"
  rollout_files.write(path, batch, testing.rollout_batch(seed=5))
  found, replayed = rollout_files.read(path)
  assert _same(found, batch)
  assert _same(replayed, testing.rollout_batch(seed=5))
  # Nothing lies beside it, and what was not filled stays unfilled.
  assert [x.name for x in path.parent.iterdir()] == ["batch.npz"]
  assert found.teacher_logprobs is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "batch.npz"
  rollout_files.write(path, testing.rollout_batch())
  before = path.read_bytes()

  def full(file, **arrays):
    file.write(b"half")
    raise OSError("no space left")

  monkeypatch.setattr(np, "savez_compressed", full)
  with pytest.raises(OSError, match="no space"):
    rollout_files.write(path, testing.rollout_batch(seed=1))
  assert path.read_bytes() == before


def test_what_holds_no_rollouts_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match="no file .*missing.npz"):
    rollout_files.read(tmp_path / "missing.npz")
  path = tmp_path / "other.npz"
  np.savez(path, completion_tokens=np.zeros((2, 3)))
  with pytest.raises(errors.UserError, match="holds no rollouts .*'prompts'"):
    rollout_files.read(path)
  rollout_files.write(path, testing.rollout_batch())
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(errors.UserError, match="holds no rollouts"):
    rollout_files.read(path)
  path.write_text("no archive")
  with pytest.raises(errors.UserError, match="holds no rollouts"):
    rollout_files.read(path)
  np.save(tmp_path / "array.npy", np.zeros(3))
  with pytest.raises(errors.UserError, match="holds no rollouts"):
    rollout_files.read(tmp_path / "array.npy")


def test_an_array_that_no_batch_has_is_refused(tmp_path):
  path = tmp_path / "batch.npz"
  rollout_files.write(path, testing.rollout_batch())
  with np.load(path) as found:
    arrays = dict(found)
  np.savez(path, **arrays, values=np.zeros(8))
  with pytest.raises(errors.UserError, match="'values'"):
    rollout_files.read(path)
