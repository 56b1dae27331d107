"""A batch in equal parts: minibatches, micro-batches, passes of the sampler."""

from typing import NamedTuple

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import records
from rlvr_jax import settings


class Division(NamedTuple):
  """How a batch of prompts with as many samples each is divided.

  Part i * by_samples + j has every by_prompts-th prompt, the i-th first, and of
  each the j-th share of its samples.

  Example: Division(num_prompts=4, by_prompts=2, by_samples=3), of 6 samples a
  prompt, has 6 parts of 2 prompts with 2 samples.

  Attributes:
    num_prompts: in the whole batch.
    by_prompts: how many parts have different prompts.
    by_samples: how many share out the samples of the same prompts.
  """

  num_prompts: int
  by_prompts: int
  by_samples: int

  @property
  def num_parts(self) -> int:
    return self.by_prompts * self.by_samples


def even_division(
  num_parts: int, num_prompts: int, samples: int, num_devices: int = 1
) -> Division | None:
  """The division into equal parts that reads fewest prompts more than once.

  Args:
    num_parts: how many.
    num_prompts: in the batch.
    samples: of each prompt.
    num_devices: a part has a multiple of so many prompts, each device some of
      its own, if there is such a division.

  Returns:
    None where no division is even.
  """

  def is_even(by_prompts: int) -> bool:
    by_samples, rest = divmod(num_parts, by_prompts)
    divides = rest == num_prompts % by_prompts == 0
    return divides and samples % by_samples == 0

  even = [x for x in range(1, num_prompts + 1) if is_even(x)]
  spread = [x for x in even if num_prompts // x % num_devices == 0]
  if not even:
    return None
  by_prompts = max(spread or even)
  return Division(num_prompts, by_prompts, num_parts // by_prompts)


@struct.dataclass
class Part:
  """A share of a batch: prompts, their completions, and all fields.

  Attributes:
    prompts: PromptBatch with G prompts.
    completion_tokens: i32[B, T].
    fields: arrays by name, [B, ...] or one value for all rows.
  """

  prompts: records.PromptBatch
  completion_tokens: jax.Array
  fields: dict[str, jax.Array]


def division(part: Part, num_parts: int, num_devices: int = 1) -> Division:
  """`even_division` of a batch.

  Raises:
    errors.UserError: if there is none.
  """
  num_prompts = part.prompts.prompt_ids.shape[0]
  samples = part.completion_tokens.shape[0] // num_prompts
  found = even_division(num_parts, num_prompts, samples, num_devices)
  settings.require(
    found is not None,
    f"{num_parts} parts were asked for, which {num_prompts} prompts of"
    f" {samples} samples do not give evenly: choose a divisor of {num_prompts}"
    " times one of the samples",
  )
  return found


def split(part: Part, into: Division) -> Part:
  """[G, ...] and [B, ...] -> [num_parts, ...]; prompts stay with their rows.

  group_ids are numbered anew within each part.
  """
  num_parts = into.num_parts
  fields = {
    name: split_rows(x, into)
    if checks.has_rows(name, x)
    else jnp.stack([x] * num_parts)
    for name, x in part.fields.items()
  }
  completion_tokens = split_rows(part.completion_tokens, into)
  if "group_ids" in fields:
    prompts = jnp.arange(into.num_prompts // into.by_prompts, dtype=jnp.int32)
    rows = completion_tokens.shape[1] // prompts.shape[0]
    local = jnp.repeat(prompts, rows)
    fields["group_ids"] = jnp.broadcast_to(local, fields["group_ids"].shape)
  return Part(
    prompts=jax.tree.map(lambda x: split_prompts(x, into), part.prompts),
    completion_tokens=completion_tokens,
    fields=fields,
  )


def split_prompts(x: jax.Array, into: Division) -> jax.Array:
  """[G, ...] -> [num_parts, prompts of a part, ...]."""
  x = x.reshape(-1, into.by_prompts, *x.shape[1:]).swapaxes(0, 1)
  return jnp.repeat(x, into.by_samples, axis=0)


def split_rows(x: jax.Array, into: Division) -> jax.Array:
  """[B, ...] -> [num_parts, rows of a part, ...]."""
  prompts = into.num_prompts // into.by_prompts
  x = x.reshape(prompts, into.by_prompts, into.by_samples, -1, *x.shape[1:])
  return jnp.moveaxis(x, 0, 2).reshape(into.num_parts, -1, *x.shape[4:])


def joined_rows(x: jax.Array, out_of: Division) -> jax.Array:
  """Undoes the split of rows: [num_parts, rows, ...] -> [B, ...]."""
  prompts = out_of.num_prompts // out_of.by_prompts
  x = x.reshape(out_of.by_prompts, out_of.by_samples, prompts, -1, *x.shape[2:])
  return jnp.moveaxis(x, 2, 0).reshape(-1, *x.shape[4:])


def cut(part: Part, num_tokens: int) -> Part:
  """The first `num_tokens` places of every completion."""
  length = part.completion_tokens.shape[1]

  def short(name: str, x: jax.Array) -> jax.Array:
    by_token = checks.SHAPES.get(name, "BT").startswith("BT")
    if by_token and x.ndim > 1 and x.shape[1] == length:
      return x[:, :num_tokens]
    return x

  return part.replace(
    completion_tokens=part.completion_tokens[:, :num_tokens],
    fields={name: short(name, x) for name, x in part.fields.items()},
  )
