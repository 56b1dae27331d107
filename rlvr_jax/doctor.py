r"""The doctor program: why a run looks sick, and which knob to turn.

python -m rlvr_jax.doctor --workdir=runs/grpo

Reads the files that a run has written so far, also while it goes on or after
it died; it writes nothing and computes nothing on a device. Prints each cause
with evidence, settings to change and what comes of it, the most fundamental
first; --json prints the same for programs. Status 0: nothing found, 1:
something found, 2: the folder holds no run.
"""

import json
import pathlib
import sys
from typing import Any

from absl import flags

from rlvr_jax import errors
from rlvr_jax import launch
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.diagnosis import series
from rlvr_jax.diagnosis import table
from rlvr_jax.metrics import writers

_WORKDIR = launch.define_workdir_flag()
_JSON = flags.DEFINE_bool("json", False, "Print JSON for programs.")

STATUS_FOUND = 1


def main() -> None:
  """Diagnoses the run of the flags' folder."""
  run = read(launch.folder(_WORKDIR))
  found = table.diagnose(run)
  if _JSON.value:
    print(json.dumps(as_json(run, found), indent=2))
  else:
    print(report(run, found))
  if found:
    sys.exit(STATUS_FOUND)


def read(folder: pathlib.Path) -> series.Run:
  """A run's files; nothing is written.

  Raises:
    errors.UserError: if there is no run, no step yet, or a damaged file.
  """
  config = workdir_lib.read_config(folder)
  lines = [
    line
    for line in writers.read_lines(folder / workdir_lib.METRICS)
    if line["step"] > 0
  ]
  if not lines:
    raise errors.UserError(
      f"--workdir {folder} has no step in {workdir_lib.METRICS} yet: look"
      " again when one is done"
    )
  return series.Run(
    config, lines, writers.read_lines(folder / workdir_lib.TIMING)
  )


def report(run: series.Run, found: list[table.Diagnosis]) -> str:
  """What was found, as text."""
  last = run.lines[-1]["step"]
  if not found:
    return f"nothing found in {last} steps, of {len(table.TABLE)} causes known"
  blocks = [f"{len(found)} found in {last} steps, the first cause first"]
  for number, diagnosis in enumerate(found, start=1):
    lines = [f"{number}. {diagnosis.name}: {diagnosis.says}"]
    lines += _labelled("evidence", diagnosis.evidence)
    if diagnosis.signs:
      lines += _labelled("seen in", (", ".join(diagnosis.signs),))
    lines += _labelled("turn", diagnosis.turns)
    lines += _labelled("or else", (diagnosis.otherwise,))
    blocks.append("\n".join(lines))
  return "\n\n".join(blocks)


def as_json(run: series.Run, found: list[table.Diagnosis]) -> dict[str, Any]:
  """What was found, as plain values."""
  return {
    "last_step": run.lines[-1]["step"],
    "diagnoses": [diagnosis._asdict() for diagnosis in found],
  }


def _labelled(label: str, sentences: tuple[str, ...]) -> list[str]:
  """Sentences below each other, the label before the first."""
  labels = (label, *[""] * (len(sentences) - 1))
  return [
    f"   {label:<9} {text}"
    for label, text in zip(labels, sentences, strict=True)
  ]


if __name__ == "__main__":
  launch.run(main)
