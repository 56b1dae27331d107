"""Rollout batches in files: written whole or not at all, and read back.

A file is an .npz archive of the batch's arrays by name, those of its prompts
under "prompts."; replayed rows, where there are any, under "replayed.".
"""

from collections.abc import Mapping
import pathlib
from typing import Any
import zipfile

import jax
import numpy as np

from rlvr_jax import errors
from rlvr_jax import records

_REPLAYED = "replayed."


def write(
  path: pathlib.Path,
  rollouts: records.RolloutBatch,
  replayed: records.RolloutBatch | None = None,
) -> None:
  """Writes a batch down, to be looked at or learned from again.

  Args:
    path: of the .npz file; a file that is there already is replaced.
    rollouts: on the host.
    replayed: likewise.
  """
  arrays = _arrays("", rollouts)
  if replayed is not None:
    arrays |= _arrays(_REPLAYED, replayed)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(path.name + ".tmp")
  with open(temporary, "wb") as file:
    np.savez_compressed(file, **arrays)
  temporary.replace(path)


def read(
  path: pathlib.Path,
) -> tuple[records.RolloutBatch, records.RolloutBatch | None]:
  """The rollouts and replayed rows that `write` has written.

  Raises:
    errors.UserError: if there is no such file, or it holds something else.
  """
  try:
    with np.load(path) as found:
      arrays = dict(found)
    replayed = {
      name.removeprefix(_REPLAYED): arrays.pop(name)
      for name in list(arrays)
      if name.startswith(_REPLAYED)
    }
    return _batch(arrays), _batch(replayed) if replayed else None
  except FileNotFoundError as error:
    raise errors.UserError(f"there is no file {path}: mend the path") from error
  except (
    # One array without names; no archive, or a damaged one; other names.
    *(AttributeError, EOFError, KeyError, OSError, TypeError, ValueError),
    zipfile.BadZipFile,
  ) as error:
    raise errors.UserError(
      f"{path} holds no rollouts ({type(error).__name__}: {error}): give a file"
      " of `rollouts.files.write`, such as those in skipped/ of a run"
    ) from error


def _arrays(prefix: str, batch: records.RolloutBatch) -> dict[str, np.ndarray]:
  leaves = jax.tree_util.tree_leaves_with_path(batch)
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
  return {f"{prefix}{name(path)}": np.asarray(leaf) for path, leaf in leaves}


def _batch(arrays: Mapping[str, np.ndarray]) -> records.RolloutBatch:
  nested: dict[str, Any] = {}
  for name, value in arrays.items():
    *folders, last = name.split(".")
    place = nested
    for folder in folders:
      place = place.setdefault(folder, {})
    place[last] = value
  prompts = nested.pop("prompts")
  if "hints" in prompts:
    prompts["hints"] = {
      name: (pair["0"], pair["1"]) for name, pair in prompts["hints"].items()
    }
  return records.RolloutBatch(
    prompts=records.PromptBatch(**{"answers": {}} | prompts), **nested
  )
