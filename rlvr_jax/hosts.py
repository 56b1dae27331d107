"""Several processes of one run: what they agree on, and who speaks for all.

Every process runs the same program on devices of its own; jax joins them. With
a single process all of this does nothing.
"""

from collections.abc import Iterator
import contextlib
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils
import numpy as np

from rlvr_jax import errors


def are_several() -> bool:
  """Whether the run has more processes than this one."""
  return jax.process_count() > 1


def is_first() -> bool:
  """Whether this process is the one that writes and reports."""
  return jax.process_index() == 0


def any_of(flag: bool) -> bool:
  """Whether the flag is set on any process; all have to ask."""
  return bool(_gathered(np.array(flag)).any()) if are_several() else flag


def all_texts(text: str) -> list[str]:
  """Each process's text, in their order; all have to ask."""
  if not are_several():
    return [text]
  own = np.frombuffer(text.encode(), np.uint8)
  lengths = _gathered(np.array(own.size, np.int32))
  # Widths are powers of two, so that few of them are compiled.
  width = 1 << int(lengths.max()).bit_length()
  rows = _gathered(np.pad(own, (0, width - own.size)))
  return [
    bytes(row[:length]).decode()
    for row, length in zip(rows, lengths, strict=True)
  ]


@contextlib.contextmanager
def together() -> Iterator[None]:
  """A block whose mistakes, made on any process, are told on all of them.

  Raises:
    errors.UserError: the block's own, or another process's.
  """
  found = None
  try:
    yield
  except errors.UserError as error:
    found = error
  if are_several():
    for number, text in enumerate(all_texts(str(found or ""))):
      if text and not found:
        raise errors.UserError(f"process {number}: {text}")
  if found:
    raise found


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
  """A block that the first process has left before the others enter it.

  Raises:
    errors.UserError: see `together`.
  """
  if not are_several():
    yield
    return
  if is_first():
    with together():
      yield
    with together():
      pass
  else:
    with together():
      pass
    with together():
      yield


@contextlib.contextmanager
def entered_by_first(context: Any) -> Iterator[None]:
  """A context that the first process alone enters, for all of them.

  Raises:
    errors.UserError: on all processes, if it cannot be entered.
  """
  with contextlib.ExitStack() as stack:
    with together():
      if is_first():
        stack.enter_context(context)
    yield


def put(tree: Any, sharding: jax.sharding.Sharding) -> Any:
  """Arrays that every process holds alike, as arrays of all devices."""
  if not are_several():
    return jax.device_put(tree, sharding)
  made = lambda x: jax.make_array_from_callback(
    np.shape(x), sharding, lambda index: np.asarray(x)[index]
  )
  with jax.transfer_guard("allow"):
    return jax.tree.map(made, tree)


def whole(tree: Any) -> Any:
  """Arrays of all devices as numpy arrays, whole on every process."""
  if not are_several():
    return jax.device_get(tree)
  with jax.transfer_guard("allow"):
    return multihost_utils.process_allgather(tree, tiled=True)


class Rows(NamedTuple):
  """Rows that a process answers for.

  Attributes:
    numbers: i64[n], their places among all rows.
    values: arrays of these rows alone.
  """

  numbers: np.ndarray
  values: Any


def own_rows(tree: Any) -> Rows:
  """The rows that this process answers for, of arrays split by row.

  Every row has one process that answers for it, also where several hold a copy
  of it: two that judge the same row might, by the clock, judge it differently.

  Args:
    tree: arrays [B, ...] of one sharding, by rows alone.
  """
  leaves = jax.tree.leaves(tree)
  if not are_several():
    values = jax.device_get(tree)
    return Rows(np.arange(leaves[0].shape[0]), values)
  parts = _answered_for(leaves[0])
  numbers = [np.arange(*part.indices(leaves[0].shape[0])) for part in parts]
  return Rows(
    np.concatenate(numbers or [np.arange(0)]),
    jax.tree.map(lambda x: _parts_of(x, parts), tree),
  )


def _answered_for(array: jax.Array) -> list[slice]:
  """Slices of rows whose first holder is of this process."""
  owners: dict[tuple[int, int], int] = {}
  places = array.sharding.devices_indices_map(array.shape)
  for device, index in places.items():
    start, stop, _ = index[0].indices(array.shape[0])
    owner = owners.get((start, stop), device.process_index)
    owners[start, stop] = min(owner, device.process_index)
  mine = [x for x, owner in owners.items() if owner == jax.process_index()]
  return [slice(*x) for x in sorted(mine)]


def _parts_of(array: jax.Array, parts: list[slice]) -> np.ndarray:
  held = {
    shard.index[0].indices(array.shape[0])[:2]: shard
    for shard in array.addressable_shards
  }
  found = [jax.device_get(held[part.start, part.stop].data) for part in parts]
  return np.concatenate(found or [np.zeros((0, *array.shape[1:]), array.dtype)])


def from_rows(
  rows: Rows, num_rows: int, sharding: jax.sharding.Sharding
) -> jax.Array:
  """Values i32[n] of each process's own rows, as one array [B] of all.

  Args:
    rows: whose values are ints of 0 or more.
    num_rows: of all processes.
    sharding: by rows.
  """
  mine = np.full(num_rows, -1, np.int32)
  mine[rows.numbers] = rows.values
  if are_several():
    mine = _gathered(mine).max(axis=0)
  return put(mine, sharding)


def _gathered(value: np.ndarray) -> np.ndarray:
  """[processes, ...]."""
  with jax.transfer_guard("allow"):
    return np.asarray(multihost_utils.process_allgather(value))
