"""What has to be checked from within, by several processes at once.

python -m tests.within_processes fail_on_one|save_or_restore|agree
"""

import json
import pathlib
import sys

from absl import flags
import jax
import ml_dtypes
import numpy as np

from rlvr_jax import checkpoints
from rlvr_jax import cluster
from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import launch
from rlvr_jax import sharding
from rlvr_jax.soundness import numerics
from rlvr_jax.weights import pretrained


def program(name: str) -> list[str]:
  """What follows "python" to start a function of this module."""
  return ["-m", "tests.within_processes", name]


def fail_on_one():
  """The training program, but that its second process fails at step 3."""
  from rlvr_jax import train

  checked = numerics.check_possible

  def check_possible(step, metrics):
    checked(step, metrics)
    if step == 3 and not hosts.is_first():
      raise errors.UserError("a mistake of one process")

  numerics.check_possible = check_possible
  launch.run(train.main)


def save_or_restore():
  """Saves a state, or finds each byte again in a folder that has one."""
  folder = _flag_of_own()
  for axis in ("data", "fsdp"):
    flags.DEFINE_integer(axis, 1, "Of the mesh.")

  def main():
    number = {x: flags.FLAGS[x].value for x in ("data", "fsdp")}
    mesh = sharding.make_mesh(sharding.MeshConfig(**number))
    state = _state()
    like = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape,
        x.dtype,
        sharding=sharding.row_sharding(mesh)
        if x.ndim
        else sharding.replicated(mesh),
      ),
      state,
    )
    with checkpoints.Checkpoints(folder() / "saved", keep=1) as saved:
      if saved.latest_step() is None:
        put = lambda x, to: hosts.put(x, to.sharding)
        saved.save(1, jax.tree.map(put, state, like), {"of": "one"})
        print(f"saved from {jax.device_count()} device(s)")
        return
      restored = saved.restore(1, like)
      assert saved.meta(1)["of"] == "one"
    for name, array in restored.items():
      assert array.sharding == like[name].sharding
      assert array.dtype == state[name].dtype
      for shard in array.addressable_shards:
        own = np.asarray(shard.data).tobytes()
        assert own == state[name][shard.index].tobytes(), name
      assert hosts.whole(array).tobytes() == state[name].tobytes(), name
    print(f"restored to {jax.device_count()} device(s)")

  launch.run(main)


def _state():
  rng = np.random.default_rng(0)
  floats = rng.normal(size=(16, 6)).astype(np.float32)
  floats[0, :4] = np.nan, -0.0, np.inf, 1e-42
  return {
    "floats": floats,
    "halves": floats.astype(ml_dtypes.bfloat16),
    "ints": rng.integers(-(2**31), 2**31, 8).astype(np.int32),
    "scalar": np.asarray(7, np.int32),
  }


def agree():
  """Two processes of two devices."""
  folder = _flag_of_own()

  def main():
    first = hosts.is_first()
    assert hosts.are_several() and jax.device_count() == 4
    assert hosts.any_of(not first) and not hosts.any_of(False)
    texts = ["", "the other's: " + "€" * 100]
    assert hosts.all_texts(texts[jax.process_index()]) == texts
    for guilty in (0, 1):
      _assert_told(guilty)
    _assert_in_turn(folder() / "log")
    _assert_files_are_compared(folder())
    for axes in (
      dict(data=4),
      dict(data=2, tensor=2),
      dict(tensor=2, fsdp=2),
      dict(tensor=4),
    ):
      with jax.transfer_guard("disallow"):
        _assert_rows(sharding.make_mesh(sharding.MeshConfig(**axes)), axes)
    print("agreed")

  launch.run(main)


def _assert_told(guilty):
  try:
    with hosts.together():
      if jax.process_index() == guilty:
        raise errors.UserError("what is wrong")
  except errors.UserError as error:
    ours = jax.process_index() == guilty
    told = "what is wrong" if ours else f"process {guilty}: what is wrong"
    assert str(error) == told
  else:
    raise AssertionError("nobody said so")


def _assert_in_turn(log: pathlib.Path):
  """The first has left its block before the second enters its own."""
  with hosts.first_before_others():
    before = log.read_text() if log.exists() else ""
    log.write_text(before + f"{jax.process_index()}\n")
    assert before == "0\n" * jax.process_index()


def _assert_files_are_compared(folder):
  """Each host has a disk of its own, and one has another file on it."""
  own = folder / f"host_{jax.process_index()}"
  own.mkdir()
  (own / "config.json").write_text("{}")
  config = pretrained.PretrainedConfig(str(own))
  pretrained.check_same(config)
  (own / "model.safetensors").write_bytes(bytes([7, jax.process_index()]))
  try:
    pretrained.check_same(config)
  except errors.UserError as error:
    said = "has another model.safetensors on process 1 than on process 0"
    assert said in str(error), error
  else:
    raise AssertionError("another file was not told of")


def _assert_rows(mesh, axes):
  values = np.arange(48, dtype=np.int32).reshape(16, 3)
  where = sharding.row_sharding(mesh)
  rows = hosts.put(values, where)
  whole = hosts.put(values, sharding.replicated(mesh))
  np.testing.assert_array_equal(hosts.whole(rows), values)
  np.testing.assert_array_equal(hosts.whole(whole), values)
  own = hosts.own_rows({"x": rows, "y": rows})
  np.testing.assert_array_equal(own.values["x"], values[own.numbers])
  np.testing.assert_array_equal(own.values["y"], values[own.numbers])
  answered = [json.loads(x) for x in hosts.all_texts(str(own.numbers.tolist()))]
  assert sorted(sum(answered, [])) == list(range(16)), axes
  if axes == dict(tensor=4):
    assert [len(x) for x in answered] == [16, 0]
  judged = hosts.Rows(own.numbers, own.values["x"][:, 0])
  back = hosts.from_rows(judged, 16, where)
  assert back.sharding == where
  np.testing.assert_array_equal(hosts.whole(back), values[:, 0])


def _flag_of_own():
  """Defines the flags that all programs have; the folder, once parsed."""
  given = launch.define_workdir_flag()
  cluster.define_flags()
  return lambda: launch.folder(given)


if __name__ == "__main__":
  globals()[sys.argv.pop(1)]()
