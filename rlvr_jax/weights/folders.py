"""Weights in Hugging Face folders, read into their shardings and written back.

A folder has config.json, one safetensors file or several with an index, and
what belongs to its tokenizer. Tensors go one at a time from the file, through
the part of it that each device holds, into their place: beside the parameters
themselves the host never holds more than one of them. An imported folder is the
same with the weights in a checkpoint of ours, which all processes of a run read
in parallel.
"""

from collections.abc import Mapping
import contextlib
import functools
import json
import math
import pathlib
import shutil
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax.metrics import writers
from rlvr_jax.models import configs
from rlvr_jax.models import huggingface
from rlvr_jax.models import transformer
from rlvr_jax.weights import files as weight_files

CONFIG = "config.json"
# Of an imported folder.
IMPORTED = "weights"
# Copied as they are: what a folder has beside its weights.
COMPANIONS = (
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "generation_config.json",
)
_DTYPES = {"F32": np.dtype("float32"), "BF16": jnp.bfloat16, "F16": np.float16}
_MAX_SHARD_BYTES = 5 * 10**9


def read_config(folder: pathlib.Path) -> dict[str, Any]:
  """Content of a folder's config.json.

  Raises:
    errors.UserError: if there is none or it is no JSON.
  """
  path = folder / CONFIG
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise errors.UserError(
      f"{folder} has no {CONFIG}: give the folder of a Hugging Face checkpoint"
    ) from error
  except ValueError as error:
    raise errors.UserError(
      f"{path} is not JSON ({error}): download it again"
    ) from error


def model_config(folder: pathlib.Path) -> configs.ModelConfig:
  """The shape that a folder's config.json describes.

  Raises:
    errors.UserError: see `read_config` and `huggingface.model_config`.
  """
  return huggingface.model_config(read_config(folder), str(folder / CONFIG))


def abstract_params(
  config: configs.ModelConfig, mesh: jax.sharding.Mesh, dtype: Any = jnp.float32
) -> Any:
  """Shapes, types and shardings of a model's parameters."""
  boxed = jax.eval_shape(
    lambda: transformer.init_params(config, jax.random.key(0))
  )
  return jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, dtype, sharding=where),
    nn.unbox(boxed),
    sharding.boxed_shardings(mesh, boxed),
  )


def num_parameters(params: Any) -> int:
  """How many numbers a model has."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def read(folder: pathlib.Path, config: configs.ModelConfig, like: Any) -> Any:
  """Reads parameters straight into their shardings.

  Everything about the files is checked before the first tensor is read.

  Args:
    folder: of a Hugging Face checkpoint, or imported.
    config: the shape; scanned layers are stacked.
    like: of `abstract_params`.

  Returns:
    Parameters like `like`.

  Raises:
    errors.UserError: if a file or tensor is missing, damaged, unexpected or
      of another shape.
  """
  if (folder / IMPORTED).is_dir():
    return _read_imported(folder / IMPORTED, config, like)
  wanted = huggingface.tensors(config)
  source = weight_files.Files(folder)
  _check(source, wanted, config, like)
  # A run forbids transfers that nobody sees; these are what reading is.
  with jax.transfer_guard("allow"):
    found = _allocate(like, config)
    for name, place in wanted.items():
      path = _path(place, config)
      is_layer = place.layer is not None and config.scan_layers
      value = source.tensor(name, place.transposed, _at(like, path), is_layer)
      if is_layer:
        value = _with_layer(_at(found, path), value, place.layer)
      _put(found, path, value)
  return found


def _read_imported(folder, config, like) -> Any:
  """Reads a checkpoint of ours, in which layers are stacked."""
  stacked = like
  if not config.scan_layers:
    stacked = {k: v for k, v in like.items() if not k.startswith("layers_")}
    stacked["layers"] = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        (config.num_layers, *x.shape), x.dtype, sharding=_stacked(x.sharding)
      ),
      like["layers_0"],
    )
  with checkpoints.Checkpoints(folder, keep=1) as saved:
    if saved.latest_step() is None:
      raise errors.UserError(
        f"{folder} holds no checkpoint: import the Hugging Face folder again"
      )
    params = saved.restore_part(0, "params", stacked)
  if config.scan_layers:
    return params
  return transformer.side_by_side(params, config.num_layers)


def _stacked(where: jax.sharding.NamedSharding) -> jax.sharding.NamedSharding:
  spec = jax.sharding.PartitionSpec(None, *where.spec)
  return jax.sharding.NamedSharding(where.mesh, spec)


def require_new(folder: pathlib.Path) -> None:
  """Raises a UserError if there is such a folder already."""
  settings.require(
    not folder.exists(), f"{folder} exists already: name a new folder"
  )


@functools.partial(jax.jit, donate_argnums=0)
def _with_layer(stacked: jax.Array, value: jax.Array, layer: int) -> jax.Array:
  return jax.lax.dynamic_update_index_in_dim(stacked, value, layer, 0)


def _allocate(like: Any, config: configs.ModelConfig) -> Any:
  """A tree to fill: zeros where layers are stacked, None elsewhere."""
  if not config.scan_layers:
    return jax.tree.map(lambda _: None, like)
  zeros = lambda x: jax.jit(
    lambda: jnp.zeros(x.shape, x.dtype), out_shardings=x.sharding
  )()
  return {
    name: jax.tree.map(zeros, part)
    if name == "layers"
    else jax.tree.map(lambda _: None, part)
    for name, part in like.items()
  }


def _path(
  place: huggingface.Place, config: configs.ModelConfig
) -> tuple[str, ...]:
  if place.layer is None:
    return place.path
  if config.scan_layers:
    return ("layers", *place.path)
  return (f"layers_{place.layer}", *place.path)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
  for name in path:
    tree = tree[name]
  return tree


def _put(tree: Any, path: tuple[str, ...], value: Any) -> None:
  _at(tree, path[:-1])[path[-1]] = value


def _check(source: weight_files.Files, wanted, config, like) -> None:
  """Names and shapes of all tensors, before any is read.

  Raises:
    errors.UserError: naming the first tensor that is not as it should be.
  """
  for name, place in wanted.items():
    settings.require(
      name in source.where,
      f"{source.folder} has no tensor {name}: its files are not those of its"
      f" {CONFIG}",
    )
    held = source.slice_of(name)
    shape = tuple(_at(like, _path(place, config)).shape)
    shape = shape[place.layer is not None and config.scan_layers :]
    expected = shape[::-1] if place.transposed else shape
    settings.require(
      tuple(held.get_shape()) == expected,
      f"{source.folder / source.where[name]}: {name} has shape"
      f" {tuple(held.get_shape())}, but the {CONFIG} beside it means"
      f" {expected}: one of the two belongs to another model",
    )
    settings.require(
      held.get_dtype() in _DTYPES,
      f"{source.folder / source.where[name]}: {name} has type"
      f" {held.get_dtype()}: only {', '.join(_DTYPES)} are read, so take the"
      " checkpoint without quantisation",
    )
  for name in source.where:
    settings.require(
      name in wanted or huggingface.is_ignored(name, config),
      f"{source.folder / source.where[name]} holds the tensor {name}, which"
      f" has no place in the model of its {CONFIG}: the checkpoint is of"
      " another architecture",
    )


def write(
  folder: pathlib.Path,
  params: Any,
  config: configs.ModelConfig,
  *,
  config_json: Mapping[str, Any],
  companions: pathlib.Path | None = None,
  dtype: str = "bfloat16",
  max_shard_bytes: int = _MAX_SHARD_BYTES,
) -> None:
  """Writes a folder that `transformers` reads.

  All goes into a folder beside it that is renamed at the end, so that a
  failure leaves nothing half-written.

  Args:
    folder: must not exist.
    params: of the model.
    config: its shape.
    config_json: content of config.json; its type is set to `dtype`.
    companions: folder whose tokenizer and generation config go along.
    dtype: "bfloat16" or "float32".
    max_shard_bytes: of one file, unless a single tensor is larger.

  Raises:
    errors.UserError: if the folder exists or cannot be written.
  """
  with _renamed_at_the_end(folder) as part:
    _write_tensors(part, params, config, jnp.dtype(dtype), max_shard_bytes)
    content = {k: v for k, v in config_json.items() if k != "dtype"}
    writers.write_json(part / CONFIG, content | {"torch_dtype": dtype})
    if companions:
      _copy(COMPANIONS, companions, part)


def write_imported(
  folder: pathlib.Path, params: Any, *, companions: pathlib.Path
) -> None:
  """Writes parameters as a checkpoint of ours, beside a folder's other files.

  Args:
    folder: must not exist.
    params: of the model, with stacked layers.
    companions: Hugging Face folder that they come from.

  Raises:
    errors.UserError: if the folder exists or cannot be written.
  """
  with _renamed_at_the_end(folder) as part:
    with checkpoints.Checkpoints(part / IMPORTED, keep=1) as saved:
      saved.save(0, {"params": params}, {})
    _copy((CONFIG, *COMPANIONS), companions, part)


@contextlib.contextmanager
def _renamed_at_the_end(folder: pathlib.Path):
  """A folder beside the wanted one; a failure leaves nothing behind."""
  require_new(folder)
  part = folder.with_name(folder.name + ".part")
  try:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(folder)
  except OSError as error:
    raise errors.UserError(
      f"{folder} could not be written ({error}): free some space or choose"
      " another folder; nothing was left behind"
    ) from error
  finally:
    shutil.rmtree(part, ignore_errors=True)


def _copy(names, source: pathlib.Path, destination: pathlib.Path) -> None:
  for name in names:
    if (source / name).exists():
      shutil.copyfile(source / name, destination / name)


def _write_tensors(folder, params, config, dtype, max_shard_bytes) -> None:
  shards, size = [[]], 0
  places = huggingface.tensors(config)
  for name, place in places.items():
    shape = _at(params, _path(place, config)).shape
    if place.layer is not None and config.scan_layers:
      shape = shape[1:]
    nbytes = int(np.prod(shape)) * dtype.itemsize
    if shards[-1] and size + nbytes > max_shard_bytes:
      shards.append([])
      size = 0
    shards[-1].append((name, nbytes))
    size += nbytes
  weight_map = {}
  for i, shard in enumerate(shards):
    file = weight_files.SINGLE
    if len(shards) > 1:
      file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
    weight_map |= {name: file for name, _ in shard}
    tensors = {
      name: _fetch(params, places[name], config, dtype) for name, _ in shard
    }
    weight_files.save(folder / file, tensors)
  if len(shards) > 1:
    total = sum(nbytes for shard in shards for _, nbytes in shard)
    writers.write_json(
      folder / weight_files.INDEX,
      {"metadata": {"total_size": total}, "weight_map": weight_map},
    )


def _fetch(params, place, config, dtype) -> np.ndarray:
  value = _at(params, _path(place, config))
  if place.layer is not None and config.scan_layers:
    value = value[place.layer]
  value = np.asarray(jax.device_get(value)).astype(dtype)
  return np.ascontiguousarray(value.T if place.transposed else value)
