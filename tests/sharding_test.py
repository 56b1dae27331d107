"""Meshes and where parameters land on them."""

import dataclasses

import jax
from jax.sharding import PartitionSpec
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import sharding
from rlvr_jax.models import transformer
from tests import testing


def _mesh(**axes):
  return sharding.make_mesh(sharding.MeshConfig(**axes))


def _specs(mesh, **changes):
  boxed = jax.eval_shape(
    lambda: transformer.init_params(
      testing.tiny_config(**changes), jax.random.key(0)
    )
  )
  return jax.tree.map(lambda x: x.spec, sharding.boxed_shardings(mesh, boxed))


def test_parameters_are_split_by_their_logical_axes():
  specs = _specs(_mesh(fsdp=2, tensor=2))
  layer = specs["layers_0"]
  assert layer["attention"]["query"]["kernel"] == PartitionSpec(
    "fsdp", "tensor"
  )
  assert layer["attention"]["output"]["kernel"] == PartitionSpec(
    "tensor", "fsdp"
  )
  assert layer["mlp"]["down"]["kernel"] == PartitionSpec("tensor", "fsdp")
  assert specs["embedding"] == PartitionSpec("tensor", "fsdp")
  assert specs["final_norm"]["scale"] == PartitionSpec(None)


def test_scanned_layers_keep_their_layer_axis_whole():
  specs = _specs(_mesh(fsdp=2), scan_layers=True)
  assert specs["layers"]["mlp"]["up"]["kernel"] == PartitionSpec(
    None, "fsdp", "tensor"
  )


def test_rows_are_spread_over_both_row_axes():
  mesh = _mesh(data=2, fsdp=4)
  rows = jax.device_put(jax.numpy.zeros((8, 3)), sharding.row_sharding(mesh))
  assert {shard.data.shape for shard in rows.addressable_shards} == {(1, 3)}


def test_more_devices_than_there_are_is_refused():
  with pytest.raises(
    errors.UserError, match="takes 16 devices .* but there are 8"
  ):
    _mesh(data=4, tensor=4)


@dataclasses.dataclass(frozen=True)
class _Device:
  """As much of a device as its place depends on."""

  id: int
  slice_index: int
  platform: str = "gpu"
  device_kind: str = "a GPU"


def _slices_of(shape, num_slices, each):
  # As they may be listed: not slice by slice.
  devices = [_Device(i, i % num_slices) for i in range(num_slices * each)]
  array = sharding.arranged(shape, devices)
  assert array.shape == shape and len({x.id for x in array.flat}) == array.size
  return np.vectorize(lambda x: x.slice_index, otypes=[int])(array)


def test_a_slice_holds_whole_copies_of_the_parameters():
  for shape in ((2, 4, 1), (4, 1, 2), (8, 1, 1)):
    slices = _slices_of(shape, num_slices=2, each=4).reshape(shape[0], -1)
    assert (slices == slices[:, :1]).all()
    assert sorted(slices[:, 0]) == sorted([0, 1] * (shape[0] // 2))


def test_parameters_may_be_split_over_slices_too():
  assert set(_slices_of((1, 8, 1), num_slices=2, each=4).flat) == {0, 1}


def test_a_mesh_is_read_from_a_flag():
  wanted = dict(data=1, fsdp=4, tensor=2)
  assert sharding.parsed("--mesh", ["1", "4", "2"]) == wanted
  for values in (["8"], ["1", "x", "2"], ["1", "-1", "2"]):
    with pytest.raises(errors.UserError, match="such as 1,4,2"):
      sharding.parsed("--mesh", values)
