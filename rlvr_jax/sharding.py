"""Where arrays live: one mesh, and one table from logical to mesh axes."""

from collections.abc import Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import ops


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each mesh axis; 1 everywhere runs on one device."""

  # Rows of the batch; parameters are copied.
  data: int = 1
  # Rows of the batch; parameters are split.
  fsdp: int = 1
  # Heads, feed-forward and vocabulary.
  tensor: int = 1


AXES = ("data", "fsdp", "tensor")
# Rows are spread over both axes that hold different rows.
ROWS = PartitionSpec(("data", "fsdp"))
# Logical axis names of parameters, as written in models/.
RULES = (
  ("vocab", "tensor"),
  ("embed", "fsdp"),
  ("heads", "tensor"),
  ("mlp", "tensor"),
  ("norm", None),
  ("layers", None),
)


def parsed(flag: str, values: Sequence[str]) -> dict[str, int]:
  """The `mesh` block of a config from a flag such as --mesh=1,4,2.

  Raises:
    errors.UserError: if it is not three whole numbers.
  """
  if len(values) != len(AXES) or not all(x.isdigit() for x in values):
    raise errors.UserError(
      f"{flag} is {','.join(values)!r}: give the devices along"
      f" {', '.join(AXES)}, such as 1,4,2"
    )
  return dict(zip(AXES, map(int, values), strict=True))


def make_mesh(
  config: MeshConfig, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """The mesh of the first data * fsdp * tensor devices.

  Args:
    config: devices along each axis.
    devices: to choose from; None takes all of this process's backend.

  Raises:
    errors.UserError: if there are fewer devices.
  """
  shape = (config.data, config.fsdp, config.tensor)
  devices = devices or jax.devices()
  wanted = int(np.prod(shape))
  if wanted > len(devices):
    raise errors.UserError(
      f"config.mesh takes {wanted} devices (data {config.data} x fsdp"
      f" {config.fsdp} x tensor {config.tensor}), but there are"
      f" {len(devices)}: lower it"
    )
  if wanted < len(devices) and hosts.are_several():
    raise errors.UserError(
      f"config.mesh takes {wanted} devices (data {config.data} x fsdp"
      f" {config.fsdp} x tensor {config.tensor}), but the processes of this run"
      f" have {len(devices)}: take all of them"
    )
  return Mesh(
    arranged(shape, devices[:wanted]),
    AXES,
    axis_types=(AxisType.Auto,) * len(AXES),
  )


def arranged(
  shape: tuple[int, int, int], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Devices as an array of such a shape, by their links.

  Of several slices, between which links are slow, each holds whole copies of
  the parameters, as long as `data` is a multiple of their number: copies are
  what exchanges least. Else devices follow each other by their ids.
  """
  num_slices = len({getattr(x, "slice_index", 0) for x in devices})
  copies, rest = divmod(shape[0], num_slices)
  if rest:
    return np.array(sorted(devices, key=lambda x: x.id)).reshape(shape)
  settings = dict(devices=devices, allow_split_physical_axes=True)
  if num_slices == 1:
    return mesh_utils.create_device_mesh(shape, **settings)
  return mesh_utils.create_hybrid_device_mesh(
    (copies, *shape[1:]), (num_slices, 1, 1), **settings
  )


def partition(mesh: Mesh) -> ops.Partition:
  """How the kernels split their arrays."""
  return ops.Partition(mesh, rows=ROWS[0], features="tensor", params="fsdp")


def row_sharding(mesh: Mesh) -> NamedSharding:
  """For arrays whose first axis is prompts or rollouts."""
  return NamedSharding(mesh, ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
  """For arrays that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def boxed_shardings(mesh: Mesh, boxed: Any) -> Any:
  """Shardings of a pytree whose parameters carry logical axis names.

  Args:
    mesh: the mesh.
    boxed: abstract or real arrays; those not boxed by flax are replicated.

  Returns:
    NamedSharding for every leaf of the unboxed tree.
  """
  specs = nn.get_partition_spec(boxed)
  return nn.logical_to_mesh_sharding(specs, mesh, RULES)
