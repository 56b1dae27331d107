"""The report program: a run as one page to open, send or print.

python -m rlvr_jax.report --workdir=runs/grpo --compare=runs/rlrt,runs/paced

Writes report.html into the run's folder: held-out figures, what the doctor
finds, curves, calibration, times, samples, a heat map of tokens, settings and
versions, in one file that reads nothing from elsewhere. The charts lie in
report/ as PNG, for papers. A run that goes on or was cut short has a report of
what there is; it is not disturbed.
"""

import pathlib

from absl import flags

from rlvr_jax import errors
from rlvr_jax import launch
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.reporting import page
from rlvr_jax.reporting import source as source_lib

_WORKDIR = launch.define_workdir_flag()
_COMPARE = flags.DEFINE_list(
  "compare", [], "Folders of runs to lay beside it, separated by commas."
)


def main() -> None:
  """Reports on the run of the flags' folder."""
  print(
    write(launch.folder(_WORKDIR), [pathlib.Path(x) for x in _COMPARE.value])
  )


def write(folder: pathlib.Path, others: list[pathlib.Path]) -> pathlib.Path:
  """Writes the report of a run; returns the page's path.

  Args:
    folder: of the run.
    others: folders of runs to compare it with.

  Raises:
    errors.UserError: if a folder holds no run, a file is damaged, or the page
      cannot be written.
  """
  sources = [source_lib.read(x) for x in (folder, *others)]
  path = folder / workdir_lib.REPORT
  try:
    html = page.build(sources, folder / workdir_lib.REPORT_PICTURES)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)
  except OSError as error:
    raise errors.UserError(
      f"{path} cannot be written ({error.strerror}): free some space or mend"
      " the folder's permissions"
    ) from error
  return path


if __name__ == "__main__":
  launch.run(main)
