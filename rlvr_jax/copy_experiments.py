"""The experiment files and launch scripts, for those who have no clone.

python -m rlvr_jax.copy_experiments           # writes experiments/
python -m rlvr_jax.copy_experiments my_lab    # writes my_lab/experiments/

They are read by path, relative to the folder that a program starts in, and
meant to be edited: a copy is yours.
"""

import pathlib
import shutil

from rlvr_jax import errors
from rlvr_jax import launch
from rlvr_jax import settings

_NAME = "experiments"
_PACKAGE = pathlib.Path(__file__).resolve().parent
# Inside of an installed package, beside the package in a clone.
_PLACES = (_PACKAGE / _NAME, _PACKAGE.parent / _NAME)
_LEFT_OUT = ("__pycache__", "colab")


def main(folder: str = ".") -> None:
  """Copies them into the folder."""
  print(f"wrote {copy(pathlib.Path(folder))}")


def copy(folder: pathlib.Path) -> pathlib.Path:
  """Writes `experiments` into a folder, which is made where there is none.

  Returns:
    The path of what was written.

  Raises:
    errors.UserError: if it is there already, or cannot be written.
  """
  source = next(place for place in _PLACES if place.is_dir())
  wanted = folder / _NAME
  settings.require(
    not wanted.exists(), f"{wanted} is there already: name another folder"
  )
  try:
    shutil.copytree(source, wanted, ignore=shutil.ignore_patterns(*_LEFT_OUT))
  except OSError as error:
    raise errors.UserError(
      f"{wanted} cannot be written ({error}): name another folder"
    ) from error
  return wanted


if __name__ == "__main__":
  launch.run(main)
