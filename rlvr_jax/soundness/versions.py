"""With what a run was computed: packages, code and devices.

A line of versions.jsonl for every start that differs from the one before, with
the step that it went on from.
"""

from collections.abc import Mapping
from importlib import metadata
import pathlib
import platform
import subprocess
from typing import Any

import jax

import rlvr_jax
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.metrics import writers

# Where figures come from, as far as they are installed: the last ones decide
# tokens and verdicts, or are what a backend computes with.
_PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "numpy",
  "tokenizers",
  "transformers",
  "math-verify",
  "libtpu",
  "jax-cuda12-plugin",
  "jax-cuda13-plugin",
)
_STEP = "step"


def here() -> dict[str, Any]:
  """Those of this process and of the devices that it computes on.

  Example: {"python": "3.11.7", "rlvr_jax": "0.1.0", "code": "1f3a…",
  "jax": "0.10.2", …, "backend": "cpu", "device": "cpu", "devices": 1,
  "processes": 1}. `code` is a clone's commit, "changed" behind it where files
  differ from it; it is missing where the code lies in no clone of its own.
  """
  found = {
    "python": platform.python_version(),
    "rlvr_jax": rlvr_jax.__version__,
  }
  if code := _commit(pathlib.Path(rlvr_jax.__file__)):
    found["code"] = code
  for name in _PACKAGES:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return found | {
    "backend": jax.default_backend(),
    "device": jax.devices()[0].device_kind,
    "devices": jax.device_count(),
    "processes": jax.process_count(),
  }


def record(folder: pathlib.Path, step: int) -> str:
  """Writes down what goes on from a step; a sentence if it is another.

  Args:
    folder: the run's.
    step: the last one that was computed before.

  Raises:
    errors.UserError: if the file is damaged or cannot be written.
  """
  path, now = folder / workdir_lib.VERSIONS, here()
  with writers.JsonLines(path, step) as file:
    before = latest(folder)
    if before == now:
      return ""
    file.write({_STEP: step} | now)
  if not before:
    return ""
  return (
    f"from step {step} on computed with {changes(before, now)}: numbers may"
    " differ from those of an undisturbed run"
  )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
  """What differs, "" if nothing does.

  Example: changes({"jax": "0.10.2"}, {"jax": "0.11.2"}) is
  "jax 0.10.2 -> 0.11.2".
  """
  return ", ".join(
    f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
    for name in {**before, **now}
    if before.get(name) != now.get(name)
  )


def starts(folder: pathlib.Path) -> list[tuple[int, dict[str, Any]]]:
  """(step, versions) of each start that differed; none in an older run."""
  lines = writers.read_lines(folder / workdir_lib.VERSIONS)
  return [
    (line[_STEP], {k: v for k, v in line.items() if k != _STEP})
    for line in lines
  ]


def latest(folder: pathlib.Path) -> dict[str, Any]:
  """Versions of the last start; {} in a run that has none."""
  found = starts(folder)
  return found[-1][1] if found else {}


def _commit(file: pathlib.Path) -> str:
  """The commit that a file belongs to, "" where no clone has it."""

  def git(*arguments: str) -> str:
    return subprocess.run(
      ("git", "-C", str(file.parent), *arguments),
      check=True,
      capture_output=True,
      text=True,
      timeout=10,
    ).stdout.strip()

  try:
    # An installation inside of somebody's clone is no part of it.
    git("ls-files", "--error-unmatch", file.name)
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
  except (OSError, subprocess.SubprocessError):
    return ""
  return f"{commit}, changed" if changed else commit
