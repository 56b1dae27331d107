"""How arrays lie on a mesh, for kernels that the compiler cannot split."""

import dataclasses
import math

import jax


@dataclasses.dataclass(frozen=True)
class Partition:
  """Which axes of a mesh split rows, and which split heads or vocabulary.

  A kernel is opaque to the compiler: on several devices it is run on each
  one's part, which takes knowing the parts.

  Example: Partition(mesh, ("data", "fsdp"), "tensor").

  Attributes:
    mesh: the devices.
    rows: mesh axes that hold different rows.
    features: mesh axis that holds different heads and vocabulary entries.
  """

  mesh: jax.sharding.Mesh
  rows: tuple[str, ...]
  features: str

  @property
  def platform(self) -> str:
    """Of the devices that the program is compiled for: "tpu", "gpu", "cpu"."""
    name = self.mesh.devices.flat[0].platform
    return {"cuda": "gpu", "rocm": "gpu"}.get(name, name)

  @property
  def num_row_parts(self) -> int:
    return math.prod(self.mesh.shape[axis] for axis in self.rows)

  @property
  def num_feature_parts(self) -> int:
    return self.mesh.shape[self.features]

  def divides(self, num_rows: int, *num_features: int) -> bool:
    """Whether every device gets as much of each."""
    return num_rows % self.num_row_parts == 0 and all(
      x % self.num_feature_parts == 0 for x in num_features
    )


def platform_of(partition: Partition | None) -> str:
  """What a program is compiled for."""
  return partition.platform if partition else jax.default_backend()
