"""Checkpoints in and out: Hugging Face folders, and runs of ours.

python -m rlvr_jax.convert import SRC DST   a Hugging Face folder as ours
python -m rlvr_jax.convert export SRC DST   a run, or an imported folder, back
python -m rlvr_jax.convert check SRC        our logits against `transformers`

`config.pretrained.folder` takes SRC of an import as well as its DST. An export
comes with certificate.json: how far the logits of what was written are from
those of what was to be written, on fixed tokens. A check prints one line of
JSON, and exits with 1 above the bound.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Any

from absl import flags
import jax.numpy as jnp

from rlvr_jax import launch
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax import sharding
from rlvr_jax import workdir
from rlvr_jax.metrics import writers
from rlvr_jax.models import configs
from rlvr_jax.models import huggingface
from rlvr_jax.models import transformer
from rlvr_jax.weights import certificate
from rlvr_jax.weights import folders
from rlvr_jax.weights import pretrained

_DTYPE = flags.DEFINE_enum(
  "dtype",
  "bfloat16",
  ("bfloat16", "float32"),
  "Type of the weights that are written.",
)
_MAX_SHARD_MIB = flags.DEFINE_integer(
  "max_shard_mib", 4768, "Size of a file of an export.", lower_bound=1
)
CERTIFICATE = "certificate.json"
# Of float32 logits against `transformers`.
BOUND = 2e-4


def main(*arguments: str) -> None:
  """Runs the command that the arguments spell."""
  commands = {
    "import": (import_, 2),
    "export": (export, 2),
    "check": (check, 1),
  }
  name = arguments[0] if arguments else ""
  settings.require(
    name in commands, f"command {name!r}: {names.did_you_mean(name, commands)}"
  )
  command, number = commands[name]
  folders = [pathlib.Path(x) for x in arguments[1:]]
  settings.require(
    len(folders) == number,
    f"{name} takes {' and '.join(('SRC', 'DST')[:number])}, and"
    f" {len(folders)} folders were given: see the program's first lines",
  )
  command(*folders)


def import_(source: pathlib.Path, destination: pathlib.Path) -> None:
  """Hugging Face folder -> the same with weights that restore in parallel.

  Raises:
    errors.UserError: see `folders.read` and `folders.write_imported`.
  """
  folders.require_new(destination)
  config = _scanned(folders.model_config(source))
  params = folders.read(source, config, _abstract(config, _DTYPE.value))
  folders.write_imported(destination, params, companions=source)
  print(f"imported {_size(params)} parameters to {destination}")


def export(source: pathlib.Path, destination: pathlib.Path) -> None:
  """A run or an imported folder -> a folder that `transformers` reads.

  Raises:
    errors.UserError: if the source is neither, or the destination exists.
  """
  folders.require_new(destination)
  config, params = pretrained.policy(source)
  content, companions = _companions(source, config)
  folders.write(
    destination,
    params,
    config,
    config_json=content,
    companions=companions,
    dtype=_DTYPE.value,
    max_shard_bytes=_MAX_SHARD_MIB.value * 2**20,
  )
  again = folders.read(destination, config, _abstract(config))
  model = _exact(config)
  found = {
    "max_abs_logit_diff": certificate.difference(model, params, again),
    "dtype": _DTYPE.value,
    "prompts": certificate.fixed_tokens(
      config.vocab_size
    ).prompts.prompt_tokens.tolist(),
  }
  writers.write_json(destination / CERTIFICATE, found)
  print(
    f"exported {_size(params)} parameters to {destination}; logits moved by"
    f" {found['max_abs_logit_diff']:.2g} at most"
  )


def check(source: pathlib.Path) -> None:
  """Compares our logits with those of `transformers`.

  Raises:
    errors.UserError: if the folder cannot be read.
    SystemExit: with 1, if a difference is above BOUND.
  """
  config = _scanned(folders.model_config(source))
  params = folders.read(source, config, _abstract(config))
  found = certificate.against_transformers(source, _exact(config), params)
  worst = max(found["full"], found["decode"])
  print(json.dumps({"max_abs_logit_diff": worst, "bound": BOUND} | found))
  # Not >: a NaN has to fail as well.
  if not worst <= BOUND:
    sys.exit(1)


def _companions(
  folder: pathlib.Path, config: configs.ModelConfig
) -> tuple[dict[str, Any], pathlib.Path | None]:
  """config.json of an export, and the folder that its tokenizer lies in."""
  if pretrained.is_run(folder):
    block = workdir.read_config(folder).get("pretrained")
    if not block:
      return huggingface.config_json(config), None
    folder = pathlib.Path(block["folder"])
  return folders.read_config(folder), folder


def _scanned(config: configs.ModelConfig) -> configs.ModelConfig:
  """Layers in one stack: compiles fast whatever their number."""
  return dataclasses.replace(config, scan_layers=True)


def _exact(config: configs.ModelConfig) -> transformer.Transformer:
  return transformer.Transformer(dataclasses.replace(config, dtype="float32"))


def _abstract(config: configs.ModelConfig, dtype: str = "float32") -> Any:
  mesh = sharding.make_mesh(sharding.MeshConfig())
  return folders.abstract_params(config, mesh, jnp.dtype(dtype))


def _size(params: Any) -> str:
  return f"{folders.num_parameters(params):,}"


if __name__ == "__main__":
  launch.run(main)
