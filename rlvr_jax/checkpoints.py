"""Saving and restoring a whole run, atomically; the only importer of orbax.

A checkpoint counts once it is complete and the checksums of its files are
written: a kill inside a save leaves the one before in place, and damage on
disk is an error, never a different run. A file beside the checkpoints names
the one that is being saved, since one without checksums that nobody was saving
is a damaged one.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import pathlib
import re
from typing import Any

import jax
import orbax.checkpoint as ocp

from rlvr_jax import checksums
from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax.metrics import writers

_CHECKSUMS = "checksums.json"
# What a checkpoint's checksums call its step: no folder is taken for another.
_STEP = "step"
_SAVING = "saving.json"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  """When to save, and how much to keep."""

  # Training steps between saves.
  every_steps: int = 50
  # Checkpoints kept on disk, the newest ones.
  keep: int = 2


class Checkpoints:
  """The checkpoints of one folder. Close it, or use it in `with`.

  A save is begun by `start`, which returns as soon as the state may change,
  and is a checkpoint once `settle` has ended it; `save` is both.
  """

  def __init__(self, directory: pathlib.Path, keep: int):
    self._directory, self._keep = pathlib.Path(directory).absolute(), keep
    self._started: int | None = None
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        # Orbax would remove the ones before, before there are checksums.
        max_to_keep=None,
        create=True,
      ),
      item_handlers={
        "state": ocp.StandardCheckpointHandler(),
        "meta": ocp.JsonCheckpointHandler(),
      },
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind, *error) -> None:
    try:
      if kind is None:
        self.settle()
      elif not hosts.are_several():
        # What ended the run is told, and not what comes of it. Others may be
        # elsewhere: several processes leave the save to the next start.
        with contextlib.suppress(errors.UserError):
          self.settle()
    finally:
      # Orbax tells once more of files that it could not write.
      with contextlib.suppress(OSError, ValueError):
        self._manager.close()

  def latest_step(self) -> int | None:
    """Newest checkpoint, or None; one that a kill cut off does not count."""
    return max(self._steps(), default=None)

  def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
    """Writes state and a small JSON record.

    Raises:
      errors.UserError: if nothing was written; earlier checkpoints stay.
    """
    self.start(step, state, meta)
    self.settle()

  def start(self, step: int, state: Any, meta: dict[str, Any]) -> None:
    """Begins a save, of which files are written while the caller goes on.

    The state may be donated afterwards: what is written is a copy on the host
    or, on a CPU, a view, whose buffers jax does not give away.

    Raises:
      errors.UserError: if nothing was written, or not what was begun before;
        earlier checkpoints stay.
    """
    self.settle()
    # All have looked before any deletes.
    with hosts.together():
      steps = self._steps()
      cut_off = set(self._manager.all_steps()) - set(steps)
    if steps and max(steps) >= step:
      raise errors.UserError(
        f"checkpoint {step} was not written: {self._directory} already holds"
        f" step {max(steps)}; use another --workdir"
      )
    with self._told(step):
      for other in cut_off:
        self._manager.delete(other)
    with hosts.together(), self._told(step):
      if hosts.is_first():
        writers.write_json(self._directory / _SAVING, step)
    with self._told(step):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
        ),
        force=True,
      )
    self._started = step

  def settle(self) -> bool:
    """Waits for a save that was begun and makes it count; False if none was.

    Raises:
      errors.UserError: if it was not written; earlier checkpoints stay.
    """
    if self._started is None:
      return False
    step, self._started = self._started, None
    folder = self._folder(step)
    with hosts.together(), self._told(step):
      self._manager.wait_until_finished()
    with hosts.together(), self._told(step):
      if hosts.is_first():
        writers.write_json(folder / _CHECKSUMS, _checksums(folder))
        (self._directory / _SAVING).unlink()
    with self._told(step):
      for other in sorted(self._manager.all_steps())[: -self._keep]:
        self._manager.delete(other)
    return True

  def meta(self, step: int) -> dict[str, Any]:
    """The JSON record of a checkpoint.

    Raises:
      errors.UserError: if the checkpoint is damaged.
    """
    self._check_files(step)
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    return self._manager.restore(step, args=args)["meta"]

  def restore(self, step: int, like: Any) -> Any:
    """Reads the state of a checkpoint.

    Args:
      step: which.
      like: pytree of jax.ShapeDtypeStruct with the shardings wanted.

    Raises:
      errors.UserError: if the checkpoint is damaged or of another shape.
    """
    # Checked before Orbax reads: its readers run in threads, and each would
    # report what it cannot read in a traceback of its own.
    self._check_files(step)
    self._check_shapes(step, like)
    args = ocp.args.Composite(state=ocp.args.StandardRestore(like))
    return self._manager.restore(step, args=args)["state"]

  def restore_part(self, step: int, name: str, like: Any) -> Any:
    """Reads one field of a state, such as "params", and nothing else.

    Args:
      step: which.
      name: of the field.
      like: pytree of jax.ShapeDtypeStruct with the shardings wanted.

    Raises:
      errors.UserError: if the checkpoint is damaged or of another shape.
    """
    self._check_files(step)
    saved = _shapes(self._manager.item_metadata(step).state.tree)
    inside = {k: v for k, v in saved.items() if k.split(".")[0] == name}
    self._compare_shapes(step, inside, _shapes({name: like}))
    handler = ocp.PyTreeCheckpointHandler()
    with ocp.Checkpointer(handler) as reader:
      return reader.restore(
        self._folder(step) / "state",
        args=ocp.args.PyTreeRestore(
          item={name: like},
          restore_args=ocp.checkpoint_utils.construct_restore_args(
            {name: like}
          ),
          partial_restore=True,
        ),
      )[name]

  def _folder(self, step: int) -> pathlib.Path:
    return self._directory / str(step)

  def _steps(self) -> list[int]:
    """Of all checkpoints but one whose save has not ended, if there is one."""
    try:
      text = (self._directory / _SAVING).read_text(encoding="utf-8")
      saving = json.loads(text)
    except (OSError, ValueError):
      saving = None
    return [
      step
      for step in self._manager.all_steps()
      if step != saving or (self._folder(step) / _CHECKSUMS).exists()
    ]

  @contextlib.contextmanager
  def _told(self, step: int) -> Iterator[None]:
    """Says in one sentence that the disk did not take a checkpoint."""
    try:
      yield
    except (OSError, ValueError) as error:
      # TensorStore, which writes the arrays, has no other error than this.
      is_of_disk = re.search("os_error_code|(Error|Failed) writing", str(error))
      if isinstance(error, ValueError) and not is_of_disk:
        raise
      raise errors.UserError(
        f"checkpoint {step} could not be written to {self._directory}"
        f" ({_reason(error)}): free some space or choose another --workdir;"
        " earlier checkpoints are untouched"
      ) from error

  def _check_files(self, step: int) -> None:
    with hosts.together():
      if hosts.is_first():
        self._check_sums(step)

  def _check_sums(self, step: int) -> None:
    folder = self._folder(step)
    try:
      expected = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
      found = _checksums(folder)
      bad = [name for name in expected if found.get(name) != expected[name]]
    except (OSError, ValueError):
      expected, found, bad = {}, {}, [_CHECKSUMS]
    # Orbax reads whatever lies in some of its folders.
    foreign = [x for x in found if x not in expected and x.startswith("state/")]
    if foreign and not bad:
      raise errors.UserError(
        f"checkpoint {folder} holds a file that is none of its own"
        f" ({foreign[0]}): move that file away to go on"
      )
    if not bad:
      return
    wrong = f"is damaged (file {bad[0]})"
    if bad == [_STEP]:
      wrong = f"is that of step {expected[_STEP]} under another name"
    older = [s for s in self._steps() if s < step]
    back = f"step {max(older)}" if older else "the start"
    raise errors.UserError(
      f"checkpoint {folder} {wrong}: move that folder away to go on from {back}"
    )

  def _check_shapes(self, step: int, like: Any) -> None:
    saved = _shapes(self._manager.item_metadata(step).state.tree)
    self._compare_shapes(step, saved, _shapes(like))

  def _compare_shapes(self, step: int, saved: dict, wanted: dict) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
      if saved.get(name) != wanted.get(name):
        raise errors.UserError(
          f"checkpoint {self._folder(step)} holds another model or optimizer:"
          f" {name} has shape {saved.get(name)} there and {wanted.get(name)}"
          " in this run; use the settings it was saved with"
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Shapes of a tree's arrays by their place, such as "params.lm_head"."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
    for path, leaf in leaves
  }


def _reason(error: Exception) -> str:
  """What went wrong with a file, without TensorStore's path down to it."""
  text = re.split(r" \[\w+=|\n", str(error))[0]
  return text.rsplit('": ', 1)[-1]


def _checksums(folder: pathlib.Path) -> dict[str, int]:
  """CRC-32 of every file of a checkpoint but the one that lists them.

  And its step, by the name of its folder.
  """
  sums = checksums.of_folder(folder)
  sums.pop(_CHECKSUMS, None)
  return {_STEP: int(folder.name)} | sums


def abstract(state: Any, shardings: Any) -> Any:
  """ShapeDtypeStructs of a state with the shardings it should get."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    state,
    shardings,
  )
