"""The sides as processes, each by the interpreter of its own environment."""

from collections.abc import Sequence
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import NamedTuple

from benchmarks import peers

_BENCHMARKS = pathlib.Path(__file__).resolve().parent
# Compiled programs of earlier processes: without them first steps are first.
_CACHES = ("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
_SETTINGS = {
  "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
  # Nothing is downloaded: models are drawn, the tokenizer is made on the spot.
  "HF_HUB_OFFLINE": "1",
  "TOKENIZERS_PARALLELISM": "false",
}
_LIMIT_SECS = 7200


class Side(NamedTuple):
  """How a side is started.

  Attributes:
    module: of `benchmarks.sides`.
    environment: of `peers.PINS`; "" for this interpreter.
    arguments: beside size, steps and file.
  """

  module: str
  environment: str = ""
  arguments: tuple[str, ...] = ()


SIDES = {
  "ours": Side("ours"),
  "trl": Side("trl_trainer", "trl"),
  "tunix": Side("tunix_learner", "tunix"),
  "torch": Side("torch_step", "trl"),
  "torch_compiled": Side("torch_step", "trl", ("--compile",)),
  "generate": Side("torch_generate", "trl"),
}
ORACLE = Side("torch_oracle", "trl")
# What the oracle's numbers are compared with.
SAME = {"ours": Side("ours_same"), "tunix": Side("tunix_same", "tunix")}


def missing(names: Sequence[str], environments: pathlib.Path) -> list[str]:
  """A sentence for each environment that these sides want and there is not."""
  wanted = dict.fromkeys(SIDES[name].environment for name in names)
  sentences = [peers.missing(environments, x) for x in wanted if x]
  return [sentence for sentence in sentences if sentence]


def run(
  side: Side,
  arguments: Sequence[str],
  environments: pathlib.Path | None,
  log: pathlib.Path,
) -> None:
  """Runs a side to its end.

  Args:
    side: what to start.
    arguments: beside its own; files by absolute paths.
    environments: folder of the peers' environments; ours needs none.
    log: where its output goes.

  Raises:
    RuntimeError: if it fails or takes two hours; with the end of its output.
  """
  ours = not side.environment
  python = pathlib.Path(sys.executable)
  if not ours:
    python = peers.interpreter(environments, side.environment)
  command = [python, "-m", f"benchmarks.sides.{side.module}"]
  outside = {k: v for k, v in os.environ.items() if k not in _CACHES}
  outside |= _SETTINGS
  if not ours:
    outside.pop("PYTHONPATH", None)
  with tempfile.TemporaryDirectory() as name, open(log, "wb") as file:
    # Peers see this folder alone: transformers looks for a package of the
    # registry that has the name of our `kernels`.
    (pathlib.Path(name) / _BENCHMARKS.name).symlink_to(_BENCHMARKS)
    try:
      subprocess.run(
        [*command, *side.arguments, *arguments],
        check=True,
        cwd=_BENCHMARKS.parent if ours else name,
        env=outside,
        stdout=file,
        stderr=file,
        timeout=_LIMIT_SECS,
      )
    except subprocess.SubprocessError as error:
      tail = log.read_text(errors="replace").splitlines()[-5:]
      raise RuntimeError(
        "\n".join([f"{side.module} failed, see {log}: {error}", *tail])
      ) from error


def report(
  side: Side,
  arguments: Sequence[str],
  environments: pathlib.Path | None,
  file: pathlib.Path,
) -> dict:
  """Runs a side that writes JSON; arguments and errors as of `run`."""
  file = file.absolute()
  file.unlink(missing_ok=True)
  whole = [*arguments, f"--json={file}"]
  run(side, whole, environments, file.with_suffix(".log"))
  return json.loads(file.read_text())
