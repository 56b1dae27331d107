"""TensorBoard and Weights & Biases, fed with what the record gets.

metrics.jsonl is the record; these show it while the run goes on. A board takes
the same lines as `writers.JsonLines` does, {"step": int, name: float, ...}, and
one that fails is told of once and left out: it never ends a run.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import hashlib
import importlib.util
import math
import pathlib
from typing import Any, Protocol

from rlvr_jax import hosts
from rlvr_jax import settings
from rlvr_jax import workdir

_FOLDER = "tensorboard"


@dataclasses.dataclass(frozen=True)
class BoardsConfig:
  """Where metrics are shown beside the record."""

  # Event files below the run's folder; needs the package tensorboardX.
  tensorboard: bool = False
  # Project of Weights & Biases, "" for none; needs the package wandb. Its own
  # variables hold, such as WANDB_MODE=offline and WANDB_ENTITY.
  wandb_project: str = ""

  def __post_init__(self):
    for wanted, setting, package, extra in (
      (self.tensorboard, "tensorboard", "tensorboardX", "tensorboard"),
      (self.wandb_project, "wandb_project", "wandb", "wandb"),
    ):
      settings.require(
        not wanted or importlib.util.find_spec(package) is not None,
        f"config.boards.{setting} is {wanted!r}, which needs the package"
        f" {package}: pip install 'rlvr_jax[{extra}]', or leave it out",
      )


class Board(Protocol):
  """Something that shows a run."""

  def write(self, line: Mapping[str, Any]) -> None:
    """Shows the figures of one step."""

  def close(self) -> None:
    """Shows all that it was given."""


class TensorBoard:
  """Event files; those of steps that are run again are hidden."""

  def __init__(self, folder: pathlib.Path, last_step: int):
    """Goes on after `last_step` in the folder of a run; -1 starts anew."""
    import tensorboardX

    self._writer = tensorboardX.SummaryWriter(
      str(folder / _FOLDER),
      purge_step=last_step + 1,
      flush_secs=10,
      # Names of files tell seconds alone: two starts may share one.
      filename_suffix=f".from_{last_step + 1}",
    )

  def write(self, line: Mapping[str, Any]) -> None:
    for name, value in _figures(line).items():
      self._writer.add_scalar(name, value, line["step"])

  def close(self) -> None:
    self._writer.close()


class WeightsAndBiases:
  """A run of Weights & Biases, the same one whenever the folder is."""

  def __init__(self, folder: pathlib.Path, project: str):
    """Starts or resumes it."""
    import wandb

    folder = folder.absolute()
    self._run = wandb.init(
      project=project,
      name=folder.name,
      id=hashlib.sha256(str(folder).encode()).hexdigest()[:16],
      resume="allow",
      dir=folder,
      config=workdir.read_config(folder),
    )
    # Its own counter cannot go back; a step that is run again has the same
    # figures at the same place of this axis.
    self._run.define_metric("*", step_metric="step")

  def write(self, line: Mapping[str, Any]) -> None:
    self._run.log({"step": line["step"]} | _figures(line))

  def close(self) -> None:
    self._run.finish()


class Boards:
  """All boards of a run; one that fails is said so of, and given up."""

  def __init__(
    self, boards: Sequence[Board] = (), say: Callable[[str], None] = print
  ):
    self._boards, self._say = list(boards), say

  def write(self, line: Mapping[str, Any]) -> None:
    """Shows the figures of one step."""
    for board in list(self._boards):
      self._tried(board, lambda board=board: board.write(line))

  def close(self) -> None:
    """Shows all that there is to show."""
    for board in list(self._boards):
      self._tried(board, board.close)

  def _tried(self, board: Board, act: Callable[[], None]) -> None:
    try:
      act()
    # Whatever a network and a service can raise.
    except Exception as error:
      self._boards.remove(board)
      self._say(
        f"{type(board).__name__} failed ({error}): it is left out from here on;"
        " the record is whole"
      )


def opened(
  config: BoardsConfig,
  folder: pathlib.Path,
  last_step: int,
  say: Callable[[str], None] = print,
) -> Boards:
  """The boards of a run, which its first process alone feeds.

  Args:
    config: which.
    folder: of the run.
    last_step: that the run goes on from; -1 starts anew.
    say: prints a line.
  """
  boards: list[Board] = []
  for wanted, make in (
    (config.tensorboard, lambda: TensorBoard(folder, last_step)),
    (
      config.wandb_project,
      lambda: WeightsAndBiases(folder, config.wandb_project),
    ),
  ):
    if not wanted or not hosts.is_first():
      continue
    try:
      boards.append(make())
    except Exception as error:
      say(f"a board could not be opened ({error}): the run goes on without it")
  return Boards(boards, say)


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
  """The numbers of a line but its step, and but those that are none."""
  return {
    name: float(value)
    for name, value in line.items()
    if name != "step"
    and isinstance(value, int | float)
    and math.isfinite(value)
  }
