"""Which rollout each decoding slot holds, and when the slots get fewer.

Decoding has static shapes: S rows go through the model at every step. A slot
whose rollout has ended takes the next one that waits, inside the compiled
loop; once none waits, the slots that are left are packed into half as many.

Keys and values lie in a ring: at step s every slot writes column s modulo the
capacity, whatever the age of its rollout, and sees the last columns alone.
"""

from typing import NamedTuple

from flax import struct
import jax
import jax.numpy as jnp

# Windows and slots are halved at most this often: each is a compiled loop.
# ours
_HALVINGS = 2
_SMALLEST_WINDOW = 16
_SMALLEST_BATCH = 8


class Stage(NamedTuple):
  """A loop of fixed shape.

  Attributes:
    num_slots: S.
    capacity: columns of the cache.
    last_step: it ends before this step of its own, if the capacity is to grow.
    least_active: it ends when no rollout waits and so many slots or fewer are
      busy.
  """

  num_slots: int
  capacity: int
  last_step: int
  least_active: int


@struct.dataclass
class Slots:
  """What lies in the slots.

  Attributes:
    rows: i32[S], number of the rollout; B where there is none.
    ages: i32[S], tokens it has.
    queue: i32[], the next rollout that has had no slot yet; B for none.
  """

  rows: jax.Array
  ages: jax.Array
  queue: jax.Array


def stages(
  num_rows: int, num_slots: int, completion_tokens: int
) -> tuple[Stage, ...]:
  """The loops that decode `num_rows` rollouts in `num_slots` slots.

  With a slot for every rollout all of them have the same age: the cache starts
  small and doubles. With fewer the ages differ, so the capacity is that of a
  whole completion, and the number of slots is halved at the end.
  """
  if num_slots >= num_rows:
    windows = [completion_tokens]
    for _ in range(_HALVINGS):
      half = -(-windows[0] // 2)
      if half < _SMALLEST_WINDOW:
        break
      windows.insert(0, half)
    return tuple(Stage(num_rows, window, window, 0) for window in windows)
  sizes = [num_slots]
  for _ in range(_HALVINGS):
    if sizes[-1] % 2 or sizes[-1] // 2 < _SMALLEST_BATCH:
      break
    sizes.append(sizes[-1] // 2)
  limit = max_steps(num_rows, num_slots, completion_tokens)
  return tuple(
    Stage(size, completion_tokens, limit, least)
    for size, least in zip(sizes, [*sizes[1:], 0], strict=True)
  )


def max_steps(num_rows: int, num_slots: int, completion_tokens: int) -> int:
  """Steps after which every rollout has ended, whatever their lengths."""
  if num_slots >= num_rows:
    return completion_tokens
  # The last to begin does so when one of the slots has done its share.
  before_last = (num_rows - 1) * completion_tokens // num_slots
  return before_last + completion_tokens


def first(num_rows: int, num_slots: int) -> Slots:
  """The first rollouts, one a slot."""
  return Slots(
    rows=jnp.arange(num_slots, dtype=jnp.int32),
    ages=jnp.zeros(num_slots, jnp.int32),
    queue=jnp.asarray(num_slots, jnp.int32),
  )


def is_active(slots: Slots, num_rows: int) -> jax.Array:
  """bool[S]."""
  return slots.rows < num_rows


def refilled(
  slots: Slots, ended: jax.Array, num_rows: int
) -> tuple[Slots, jax.Array]:
  """The slots one token later; where a rollout ended, the next one begins.

  Args:
    slots: before.
    ended: bool[S], whether the token just drawn was a rollout's last.
    num_rows: B.

  Returns:
    The slots after, and bool[S], where a rollout begins.
  """
  free = ended | ~is_active(slots, num_rows)
  waiting = slots.queue + jnp.cumsum(free, dtype=jnp.int32) - 1
  begins = free & (waiting < num_rows)
  rows = jnp.where(free, num_rows, slots.rows)
  return Slots(
    rows=jnp.where(begins, waiting, rows),
    ages=jnp.where(begins, 0, slots.ages + 1),
    queue=slots.queue + jnp.sum(begins, dtype=jnp.int32),
  ), begins


def packed(slots: Slots, num_slots: int, num_rows: int) -> jax.Array:
  """Numbers i32[num_slots] of slots to keep: busy ones first."""
  order = jnp.argsort(~is_active(slots, num_rows), stable=True)
  return order[:num_slots]


def own_columns(step: jax.Array, ages: jax.Array, capacity: int) -> jax.Array:
  """bool[S, capacity]: columns that hold a slot's own rollout.

  Args:
    step: i32[], whose column has just been written.
    ages: i32[S], the age that the token of that column was drawn at.
    capacity: of the ring.
  """
  columns = jnp.arange(capacity, dtype=jnp.int32)
  return ((step - columns) % capacity)[None] <= ages[:, None]
