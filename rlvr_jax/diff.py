"""The diff program: in which settings and versions two runs differ.

python -m rlvr_jax.diff runs/grpo runs/rlrt

Prints a line for each setting that is another or that only one of them has,
and for what they were computed with (`versions.jax`, at the last start).
Status 0: none, 1: some, 2: a folder holds no run.
"""

from collections.abc import Mapping
import pathlib
import sys
from typing import Any

from rlvr_jax import launch
from rlvr_jax import summary
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.soundness import versions

STATUS_DIFFERENT = 1
_ABSENT = "-"


def differences(
  ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
  """Settings that differ, (name, ours, theirs) by name.

  Example: differences({"seed": 0}, {"seed": 1}) is [("seed", "0", "1")].

  Args:
    ours: a config as `workdir.read_config` gives it.
    theirs: another.
  """
  ours, theirs = workdir_lib.flat(ours), workdir_lib.flat(theirs)
  shown = lambda config, name: repr(config[name]) if name in config else _ABSENT
  found = [
    (name, shown(ours, name), shown(theirs, name))
    for name in sorted(ours.keys() | theirs.keys())
  ]
  return [x for x in found if x[1] != x[2]]


def main(first: str, second: str) -> None:
  """Compares the runs of two folders."""
  folders = pathlib.Path(first), pathlib.Path(second)
  found = differences(*map(_described, folders))
  if not found:
    print("no setting and no version differs")
    return
  print(summary.aligned([("", first, second), *found]))
  sys.exit(STATUS_DIFFERENT)


def _described(folder: pathlib.Path) -> dict[str, Any]:
  """A run's config with its versions."""
  config = workdir_lib.read_config(folder)
  return config | {"versions": versions.latest(folder)}


if __name__ == "__main__":
  launch.run(main)
