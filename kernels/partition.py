"""How arrays lie on a mesh, where the compiler is not to choose.

It cannot split a kernel; and of parameters that are split along their width it
would rather split every activation alike and add up products than gather them.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

import jax
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec


@dataclasses.dataclass(frozen=True)
class Partition:
  """Which axes of a mesh split rows, heads or vocabulary, and parameters.

  Example: Partition(mesh, ("data", "fsdp"), "tensor", "fsdp").

  Attributes:
    mesh: the devices.
    rows: mesh axes that hold different rows; none for what one of `each` sees.
    features: mesh axis that holds different heads and vocabulary entries.
    params: mesh axis, one of `rows`, that splits parameters along the width;
      None where they are whole.
  """

  mesh: jax.sharding.Mesh
  rows: tuple[str, ...]
  features: str
  params: str | None

  @property
  def platform(self) -> str:
    """Of the devices that the program is compiled for: "tpu", "gpu", "cpu"."""
    name = self.mesh.devices.flat[0].platform
    return {"cuda": "gpu", "rocm": "gpu"}.get(name, name)

  @property
  def copies(self) -> tuple[str, ...]:
    """Mesh axes with different rows along which parameters are copied."""
    return tuple(axis for axis in self.rows if axis != self.params)

  @property
  def num_copies(self) -> int:
    return math.prod(self.mesh.shape[axis] for axis in self.copies)

  @property
  def num_parts(self) -> int:
    return self.num_row_parts * self.num_feature_parts

  @property
  def num_row_parts(self) -> int:
    return math.prod(self.mesh.shape[axis] for axis in self.rows)

  @property
  def num_feature_parts(self) -> int:
    return self.mesh.shape[self.features]

  @property
  def num_param_parts(self) -> int:
    return self.mesh.shape[self.params] if self.params else 1

  def divides(self, num_rows: int, *num_features: int) -> bool:
    """Whether every device gets as much of each."""
    return num_rows % self.num_row_parts == 0 and all(
      x % self.num_feature_parts == 0 for x in num_features
    )


def over_parts(
  function: Callable, partition: Partition, in_specs: Any, out_specs: Any
) -> Callable:
  """A function of whole arrays out of one of a device's parts of them.

  Args:
    function: may use collectives along the partition's axes.
    partition: of more than one part.
    in_specs: PartitionSpecs of its arguments.
    out_specs: of what it returns.
  """
  return jax.shard_map(
    function,
    mesh=_mesh(partition),
    in_specs=in_specs,
    out_specs=out_specs,
    axis_names={*partition.rows, partition.features},
    check_vma=False,
  )


def each(
  function: Callable,
  partition: Partition,
  along: tuple[str, ...],
  num_shared: int,
  num_sums: int = 0,
) -> Callable:
  """A function of all rows out of one that devices call for their own rows.

  Within it, loops end where a device's own rows do, and nothing is read from
  other rows' devices. What the other axes split is split as before: the
  function works with the partition `of_each`.

  Args:
    function: returns arrays whose first axis is rows, after any sums.
    partition: which divides the rows.
    along: of its axes of rows, all or those along which parameters are copied.
    num_shared: leading arguments that all devices have alike; of those after
      them the first axis is rows.
    num_sums: leading results that are sums over a device's own rows, to be
      added up over all devices.
  """
  rows = PartitionSpec(along)
  sums = (PartitionSpec(),) * num_sums
  out_specs = (*sums, rows) if num_sums else rows

  def own(*args):
    found = function(*args)
    if not num_sums:
      return found
    return *lax.psum(found[:num_sums], along), *found[num_sums:]

  def whole(*args):
    specs = (PartitionSpec(),) * num_shared + (rows,) * (len(args) - num_shared)
    return jax.shard_map(
      own,
      mesh=partition.mesh,
      in_specs=specs,
      out_specs=out_specs,
      axis_names=_apart(partition, along),
      check_vma=False,
    )(*args)

  return whole


def of_each(partition: Partition, along: tuple[str, ...]) -> Partition:
  """What a function that goes through `each` sees."""
  apart = _apart(partition, along)
  return dataclasses.replace(
    partition,
    rows=tuple(axis for axis in partition.rows if axis not in apart),
    params=None if partition.params in apart else partition.params,
  )


def _apart(partition: Partition, along: tuple[str, ...]) -> set[str]:
  """Axes that the compiler does not see within `each`.

  All, where a single device is left to it, or it would take kernels for
  something that it is to split.
  """
  sizes = partition.mesh.shape
  left = math.prod(n for axis, n in sizes.items() if axis not in along)
  return {*along} if left > 1 else {*sizes}


def laid_out(
  x: jax.Array, partition: Partition | None, feature_axis: int | None = None
) -> jax.Array:
  """An array whose first axis is rows, on the devices of its rows.

  Args:
    x: [B, ...].
    partition: None leaves the array where it is, as does one that does not
      divide it.
    feature_axis: which axis is heads, feed-forward or vocabulary.
  """
  if partition is None or partition.num_parts == 1:
    return x
  features = [] if feature_axis is None else [x.shape[feature_axis]]
  if not partition.divides(x.shape[0], *features):
    return x
  spec: list = [partition.rows or None] + [None] * (x.ndim - 1)
  if feature_axis is not None:
    spec[feature_axis] = partition.features
  return _on(partition, x, spec)


def gathered(
  kernel: jax.Array, partition: Partition | None, feature_axis: int
) -> jax.Array:
  """A parameter whole along its width, to be multiplied with; split again.

  Its gradient comes back split as the parameter is: a sum over devices of which
  each keeps its part.

  Args:
    kernel: [..., D, F] or [..., F, D].
    partition: None leaves it as it is.
    feature_axis: of F, from the end: -1 or -2.
  """
  if partition is None or partition.num_param_parts == 1:
    return kernel
  return _gathered(kernel, partition, feature_axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gathered(kernel, partition, feature_axis):
  # Said first, or what comes before, such as a cast, would be gathered instead.
  kernel = _split(partition, kernel, feature_axis)
  spec = [None] * kernel.ndim
  spec[feature_axis] = partition.features
  return _on(partition, kernel, spec)


def _split(partition, kernel, feature_axis):
  spec = [None] * (kernel.ndim - 2) + [partition.params] * 2
  spec[feature_axis] = partition.features
  return _on(partition, kernel, spec)


def _split_again(partition, feature_axis, _, upstream):
  return (_split(partition, upstream, feature_axis),)


_gathered.defvjp(
  lambda kernel, *static: (_gathered(kernel, *static), None), _split_again
)


def _on(partition: Partition, x: jax.Array, spec: list) -> jax.Array:
  where = NamedSharding(_mesh(partition), PartitionSpec(*spec))
  return lax.with_sharding_constraint(x, where)


def _mesh(partition: Partition) -> Any:
  """The mesh, as the surrounding function sees it."""
  within = jax.sharding.get_abstract_mesh()
  return partition.mesh if within.empty else within


def platform_of(partition: Partition | None) -> str:
  """What a program is compiled for."""
  return partition.platform if partition else jax.default_backend()
