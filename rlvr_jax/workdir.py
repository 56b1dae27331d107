"""The folder of a run: whose it is, and what lies where."""

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import json
import pathlib
from typing import Any

from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax.metrics import writers

CONFIG = "config.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
# Training rollouts by token.
TOKENS = "tokens.jsonl"
# Wall-clock times lie apart: everything else is a function of the seed.
TIMING = "timing.jsonl"
WARM_START_METRICS = "warm_start.jsonl"
# What each start of the run was computed with.
VERSIONS = "versions.jsonl"
SUMMARY = "summary.json"
CURVES = "curves.png"
REPORT = "report.html"
# Its pictures.
REPORT_PICTURES = "report"
CHECKPOINTS = "checkpoints"
WARM_START = "warm_start"
EMBEDDINGS = "prompt_embeddings"
DATA = "data"
# Batches whose update was left out.
SKIPPED = "skipped"

# Settings that a resumed run may change: they move no number before the step
# at which it stopped, and another mesh moves later ones by rounding alone.
MAY_CHANGE = (
  "num_steps",
  "checkpoint",
  "mesh",
  "numerics",
  "consistency",
  "boards",
  "report",
)


@contextlib.contextmanager
def claimed(folder: pathlib.Path, config: Mapping[str, Any]) -> Iterator[None]:
  """Makes the folder this run's own for as long as the block lasts.

  Args:
    folder: new, empty, or of an earlier start of the same run.
    config: resolved experiment file.

  Raises:
    errors.UserError: if the folder cannot be written, is in use, or belongs to
      something else; nothing in it is touched.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG).exists() and any(folder.iterdir()):
      raise errors.UserError(
        f"--workdir {folder} holds other files and no run: choose a new or"
        " empty folder"
      )
    _check_same_run(folder, config)
    lock = open(folder / CONFIG, "a", encoding="utf-8")  # noqa: SIM115
  except OSError as error:
    raise errors.UserError(
      f"--workdir {folder} cannot be written ({error.strerror}): choose"
      " another folder or mend its permissions"
    ) from error
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      raise errors.UserError(
        f"--workdir {folder} is in use by another process: wait for it or"
        " choose another folder"
      ) from error
    writers.write_json(folder / CONFIG, config)
    # The rename above put a new file in place: lock that one too, for those
    # who come later.
    with open(folder / CONFIG, encoding="utf-8") as renamed:
      fcntl.flock(renamed, fcntl.LOCK_EX | fcntl.LOCK_NB)
      yield


def check_same_config(config: Mapping[str, Any]) -> None:
  """Makes sure that all processes of a run have the same config.

  Raises:
    errors.UserError: on all of them, naming a setting that differs.
  """
  first, *others = map(json.loads, hosts.all_texts(json.dumps(flat(config))))
  for number, other in enumerate(others, start=1):
    for key in sorted(first.keys() | other.keys()):
      if first.get(key) != other.get(key):
        raise errors.UserError(
          f"config.{key} is {first.get(key)!r} on process 0 and"
          f" {other.get(key)!r} on process {number}: start all processes with"
          " the same flags and experiment file"
        )


def check_shared(folder: pathlib.Path) -> None:
  """Makes sure that all processes see the folder that the first has claimed.

  Raises:
    errors.UserError: on all of them, if one does not.
  """
  with hosts.together():
    if not (folder / CONFIG).exists():
      raise errors.UserError(
        f"--workdir {folder} is not the folder that process 0 writes to: give"
        " one on a file system that all hosts share"
      )


def read_config(folder: pathlib.Path) -> dict[str, Any]:
  """The config that the run in a folder was started with.

  Raises:
    errors.UserError: if there is none or it cannot be read.
  """
  path = folder / CONFIG
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise errors.UserError(
      f"--workdir {folder} holds no run ({CONFIG} is missing): give the folder"
      " of a run"
    ) from error
  except ValueError as error:
    raise errors.UserError(
      f"{path} is not JSON ({error}): it was damaged or edited; restore it"
    ) from error


def _check_same_run(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  path = folder / CONFIG
  started = any((folder / x).exists() for x in (WARM_START, CHECKPOINTS))
  if not started or not path.exists():
    return
  # Through JSON and back, so that tuples compare equal to stored lists.
  theirs = flat(read_config(folder))
  ours = flat(json.loads(json.dumps(config)))
  for key in sorted(theirs.keys() | ours.keys()):
    movable = any(key == m or key.startswith(m + ".") for m in MAY_CHANGE)
    if not movable and theirs.get(key) != ours.get(key):
      raise errors.UserError(
        f"--workdir {folder} belongs to a run with config.{key} ="
        f" {theirs.get(key)!r}, not {ours.get(key)!r}: choose another folder"
        " or the same settings"
      )


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Values of nested blocks by dotted name."""
  found = {}
  for key, value in config.items():
    if isinstance(value, Mapping):
      found |= flat(value, f"{prefix}{key}.")
    else:
      found[prefix + key] = value
  return found
