"""Training runs: as processes, one folder each, and opened again."""

from collections.abc import Mapping, Sequence
import os
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import programs as programs_lib
from rlvr_jax import records
from rlvr_jax import sharding
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.data import tasks


def command(
  folder: pathlib.Path, config: str, overrides: Mapping[str, Any]
) -> list[str]:
  """What starts, or goes on with, a run in a folder; arguments of `train`."""
  return [
    sys.executable,
    "-m",
    "rlvr_jax.train",
    f"--config={config}",
    f"--workdir={folder}",
    *(f"--config.{name}={value}" for name, value in overrides.items()),
  ]


def train(
  folder: pathlib.Path,
  config: str,
  overrides: Mapping[str, Any],
  cache: pathlib.Path,
) -> pathlib.Path:
  """Trains, unless the folder holds a finished run; returns the folder.

  Args:
    folder: of the run; its log lies beside it.
    config: what follows --config=.
    overrides: values by name, such as {"optimizer.learning_rate": 1e-3}.
    cache: of compiled programs, shared by runs of the same shapes.

  Raises:
    errors.UserError: if the run fails, with the last line of its log.
  """
  if (folder / "summary.json").exists():
    return folder
  environment = os.environ | {
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1",
  }
  log = folder.with_suffix(".log")
  log.parent.mkdir(parents=True, exist_ok=True)
  with open(log, "w", encoding="utf-8") as file:
    done = subprocess.run(
      command(folder, config, overrides),
      check=False,
      stdout=file,
      stderr=file,
      env=environment,
    )
  if done.returncode:
    *_, last = log.read_text(encoding="utf-8").splitlines() or ["no word"]
    raise errors.UserError(
      f"the run in {folder} ended with status {done.returncode} ({last}): see"
      f" {log}"
    )
  return folder


class Opened(NamedTuple):
  """What a run is made of.

  Attributes:
    experiment: its settings and method.
    task: its data.
    programs: what it compiles.
  """

  experiment: experiment_lib.Experiment
  task: tasks.Task
  programs: programs_lib.Programs


def prepared(
  config: Mapping[str, Any], data: pathlib.Path, hints: Sequence[str] = ()
) -> Opened:
  """A run of a config.

  Args:
    config: resolved experiment file.
    data: where the data set's files lie, or will.
    hints: what a teacher is shown.
  """
  experiment = experiment_lib.load(config)
  run = experiment.run
  task = tasks.load_task(run.data, run.rollout.completion_tokens, data, hints)
  mesh = sharding.make_mesh(run.mesh)
  programs = programs_lib.make_programs(experiment, task, mesh)
  return Opened(experiment, task, programs)


def opened(folder: pathlib.Path, hints: Sequence[str] = ()) -> Opened:
  """The run of a folder."""
  config = workdir_lib.read_config(folder)
  return prepared(config, folder / workdir_lib.DATA, hints)


def newest_state(
  folder: pathlib.Path, programs: programs_lib.Programs
) -> records.TrainState:
  """What the newest checkpoint of a folder holds."""
  with checkpoints.Checkpoints(folder / workdir_lib.CHECKPOINTS, 2) as saved:
    return saved.restore(saved.latest_step(), programs.train.abstract)
