"""Safetensors files: tensors by name, read in parts and written.

The only importer of safetensors.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import jax
import numpy as np

from rlvr_jax import errors
from rlvr_jax import settings

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_HOW_TO_INSTALL = (
  "reading Hugging Face checkpoints needs the package safetensors: pip install"
  " safetensors"
)


class Files:
  """The safetensors files of a folder, opened when first looked into.

  Attributes:
    where: name of the file that holds each tensor.
  """

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self._open = {}
    self.where = self._index()

  def _index(self) -> dict[str, str]:
    path = self.folder / INDEX
    if (self.folder / SINGLE).exists() and not path.exists():
      return dict.fromkeys(self._file(SINGLE).keys(), SINGLE)
    try:
      listed = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except FileNotFoundError as error:
      raise errors.UserError(
        f"{self.folder} has neither {SINGLE} nor {INDEX}: download the"
        " checkpoint's safetensors files"
      ) from error
    except (ValueError, KeyError) as error:
      raise errors.UserError(
        f"{path} holds no weight_map ({error}): download it again"
      ) from error
    for file in sorted(set(listed.values())):
      settings.require(
        (self.folder / file).exists(),
        f"{self.folder} lacks {file}, which {INDEX} names: download it",
      )
      held = set(self._file(file).keys())
      for name in sorted(k for k, v in listed.items() if v == file):
        settings.require(
          name in held,
          f"{self.folder / file} lacks the tensor {name}, which {INDEX}"
          " promises: download it again",
        )
    return listed

  def _file(self, name: str):
    if name not in self._open:
      path = self.folder / name
      try:
        self._open[name] = _library().safe_open(path, framework="np")
      except Exception as error:
        # The library's own exception class is no OSError and tells as little.
        raise errors.UserError(
          f"{path} is no whole safetensors file ({error}): download it again"
        ) from error
    return self._open[name]

  def slice_of(self, name: str) -> Any:
    """A tensor that is read when it is sliced."""
    return self._file(self.where[name]).get_slice(name)

  def tensor(
    self,
    name: str,
    transposed: bool,
    target: jax.ShapeDtypeStruct,
    is_layer: bool,
  ) -> jax.Array:
    """One tensor as an array with the sharding of its place.

    Args:
      name: of the tensor.
      transposed: whether the place holds it transposed.
      target: the place; a whole stack, where `is_layer`.
      is_layer: the tensor is one layer of the stack.
    """
    held = self.slice_of(name)
    shape, sharding = target.shape, target.sharding
    if is_layer:
      shape = shape[1:]
      spec = jax.sharding.PartitionSpec(*sharding.spec[1:])
      sharding = jax.sharding.NamedSharding(sharding.mesh, spec)

    def part(index: tuple[slice, ...]) -> np.ndarray:
      if transposed:
        return held[index[::-1]].T.astype(target.dtype)
      return held[index].astype(target.dtype)

    return jax.make_array_from_callback(shape, sharding, part)


def save(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes one file."""
  # `transformers` wants to know the framework, and takes no other for torch.
  _library().numpy.save_file(dict(tensors), path, metadata={"format": "pt"})


def _library():
  try:
    import safetensors
    import safetensors.numpy
  except ImportError as error:
    raise errors.UserError(_HOW_TO_INSTALL) from error
  return safetensors
