"""Saving and restoring a whole run, atomically; the only importer of orbax.

A checkpoint becomes visible when it is complete: a kill inside a save leaves
the previous one in place. Each carries a checksum of every array, so that
damage on disk is an error and never a different run.
"""

import dataclasses
import pathlib
from typing import Any
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from rlvr_jax import errors


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  """When to save, and how much to keep."""

  # Training steps between saves.
  every_steps: int = 50
  # Checkpoints kept on disk, the newest ones.
  keep: int = 2


class Checkpoints:
  """The checkpoints of one folder. Close it, or use it in `with`."""

  def __init__(self, directory: pathlib.Path, keep: int):
    self._directory = pathlib.Path(directory).absolute()
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=True,
        # The training step donates the state that it is given: a save that
        # still reads it in the background could write a later step.
        enable_async_checkpointing=False,
      ),
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *error) -> None:
    self._manager.close()

  def latest_step(self) -> int | None:
    """Newest complete checkpoint, or None."""
    return self._manager.latest_step()

  def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
    """Writes state and a small JSON record.

    Raises:
      errors.UserError: if nothing was written; earlier checkpoints stay.
    """
    meta = meta | {"checksums": checksums(state)}
    try:
      written = self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
        ),
      )
    except OSError as error:
      raise errors.UserError(
        f"checkpoint {step} could not be written to {self._directory}"
        f" ({error}): free some space or choose another --workdir; earlier"
        " checkpoints are untouched"
      ) from error
    if not written:
      raise errors.UserError(
        f"checkpoint {step} was not written: {self._directory} already holds"
        f" step {self.latest_step()}; use another --workdir"
      )

  def meta(self, step: int) -> dict[str, Any]:
    """The JSON record of a checkpoint."""
    return self._restore(step, ocp.args.Composite(meta=ocp.args.JsonRestore()))[
      "meta"
    ]

  def restore(self, step: int, like: Any) -> Any:
    """Reads a checkpoint.

    Args:
      step: which.
      like: pytree of jax.ShapeDtypeStruct with the shardings wanted.

    Raises:
      errors.UserError: if it is damaged, unreadable or of another shape.
    """
    restored = self._restore(
      step,
      ocp.args.Composite(
        state=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore()
      ),
    )
    expected = restored["meta"]["checksums"]
    for name, found in checksums(restored["state"]).items():
      if expected.get(name) != found:
        raise self._damaged(step, f"the checksum of {name} does not match")
    return restored["state"]

  def _restore(self, step: int, args: Any) -> Any:
    try:
      return self._manager.restore(step, args=args)
    # Orbax and TensorStore raise a dozen types for a damaged file; all of
    # them mean the same to the user, and the cause is kept.
    except Exception as error:
      reason = str(error).splitlines()[0] if str(error) else repr(error)
      raise self._damaged(step, reason[:200]) from error

  def _damaged(self, step: int, reason: str) -> errors.UserError:
    folder = self._directory / str(step)
    older = [s for s in self._manager.all_steps() if s < step]
    back = f"step {max(older)}" if older else "the start"
    return errors.UserError(
      f"checkpoint {folder} cannot be read ({reason}): move that folder away"
      f" to go on from {back}"
    )


def checksums(state: Any) -> dict[str, int]:
  """CRC-32 of the bytes of every array, by its path in the tree."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return {
    jax.tree_util.keystr(path): zlib.crc32(
      np.ascontiguousarray(jax.device_get(leaf)).tobytes()
    )
    for path, leaf in leaves
  }


def abstract(state: Any, shardings: Any) -> Any:
  """ShapeDtypeStructs of a state with the shardings it should get."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    state,
    shardings,
  )
