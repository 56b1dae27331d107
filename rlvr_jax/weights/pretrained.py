"""Weights in folders: what a run starts from, and what it ends with."""

from collections.abc import Mapping
import dataclasses
import json
import pathlib
from typing import Any

from rlvr_jax import checkpoints
from rlvr_jax import checksums
from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import workdir
from rlvr_jax.data import tokenizer as tokenizer_lib
from rlvr_jax.models import configs
from rlvr_jax.models import huggingface
from rlvr_jax.weights import folders

_NO_FOLDER = (
  "config.pretrained.folder is empty: give the folder of the checkpoint that"
  " the run starts from"
)


@dataclasses.dataclass(frozen=True)
class PretrainedConfig:
  """Where the weights are that a run starts from.

  Example: PretrainedConfig("checkpoints/Qwen3-4B-Base").
  """

  # A Hugging Face checkpoint, or what `convert import` made of it; "" where an
  # experiment file leaves the choice to its user.
  folder: str
  # Tokens that end a completion beside those that the checkpoint names, such
  # as "<|im_end|>" for a base model that is asked in a chat.
  stop_tokens: tuple[str, ...] = ()
  # What a chat template takes for today, such as "2026-01-31".
  date: str = ""


def with_shape(config: Mapping[str, Any]) -> Mapping[str, Any]:
  """A run's config with the shape of its checkpoint, where it states none.

  Raises:
    errors.UserError: if there is no such checkpoint.
  """
  model = config.get("model", {})
  if not config.get("pretrained") or "vocab_size" in model:
    return config
  folder = config["pretrained"].get("folder")
  settings.require(bool(folder), _NO_FOLDER)
  shape = dataclasses.asdict(folders.model_config(pathlib.Path(folder)))
  return {**config, "model": {**shape, **model}}


def check(config: PretrainedConfig, model: configs.ModelConfig) -> None:
  """Makes sure that a checkpoint is there and has the model of the run.

  Raises:
    errors.UserError: naming the first setting that differs.
  """
  settings.require(bool(config.folder), _NO_FOLDER)
  folder = pathlib.Path(config.folder)
  theirs = folders.model_config(folder)
  for field in dataclasses.fields(model):
    ours, other = getattr(model, field.name), getattr(theirs, field.name)
    settings.require(
      ours == other or field.name in huggingface.NOT_IN_FILES,
      f"config.model.{field.name} is {ours!r}, but {folder} has {other!r}: take"
      " the checkpoint that the experiment names, or set the model's shape",
    )


def check_same(config: PretrainedConfig) -> None:
  """Makes sure that all processes read the same files of a checkpoint.

  With several processes each reads all of its files once, a second or two for
  every gigabyte. All have to ask.

  Raises:
    errors.UserError: on all of them, naming a file that differs.
  """
  if not hosts.are_several():
    return
  with hosts.together():
    try:
      sums = checksums.of_folder(pathlib.Path(config.folder))
    except OSError as error:
      raise errors.UserError(
        f"{error.filename} cannot be read ({error.strerror}): mend its"
        " permissions or copy the checkpoint again"
      ) from error
  first, *others = map(json.loads, hosts.all_texts(json.dumps(sums)))
  for number, other in enumerate(others, start=1):
    for name in sorted(first.keys() | other.keys()):
      settings.require(
        first.get(name) == other.get(name),
        f"config.pretrained.folder {config.folder} has another {name} on"
        f" process {number} than on process 0: give all hosts the same files",
      )


def tokenizer(
  config: PretrainedConfig, model: configs.ModelConfig
) -> tokenizer_lib.Tokenizer:
  """The checkpoint's tokenizer.

  Raises:
    errors.UserError: see `tokenizer.load`.
  """
  return tokenizer_lib.load(
    config.folder,
    vocab_size=model.vocab_size,
    stop_tokens=config.stop_tokens,
    date=config.date,
  )


def params(
  config: PretrainedConfig, model: configs.ModelConfig, like: Any
) -> Any:
  """The checkpoint's parameters, in their shardings; see `folders.read`."""
  return folders.read(pathlib.Path(config.folder), model, like)


def policy(folder: pathlib.Path) -> tuple[configs.ModelConfig, Any]:
  """Shape and parameters of the policy in a folder, on one device.

  Args:
    folder: of a run, whose newest checkpoint counts; or a Hugging Face
      checkpoint, or what `convert import` made of it.

  Raises:
    errors.UserError: if the folder is neither, or the run has no checkpoint.
  """
  mesh = sharding.make_mesh(sharding.MeshConfig())
  if not is_run(folder):
    # Layers in one stack: compiles fast whatever their number.
    config = dataclasses.replace(folders.model_config(folder), scan_layers=True)
    return config, folders.read(
      folder, config, folders.abstract_params(config, mesh)
    )
  run = with_shape(workdir.read_config(folder))
  config = settings.typed(configs.ModelConfig, run["model"], "config.model")
  with checkpoints.Checkpoints(folder / workdir.CHECKPOINTS, keep=1) as saved:
    step = saved.latest_step()
    if step is None:
      raise errors.UserError(
        f"{folder} has no checkpoint yet: train further, or lower"
        " config.checkpoint.every_steps"
      )
    like = folders.abstract_params(config, mesh)
    return config, saved.restore_part(step, "params", like)


def is_run(folder: pathlib.Path) -> bool:
  """Whether a folder is that of a run, past its warm start."""
  return (folder / workdir.CHECKPOINTS).is_dir()
