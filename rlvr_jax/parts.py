"""A batch cut into equal parts: minibatches, and micro-batches of those."""

from flax import struct
import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import records


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


def split(part: Part, num_parts: int) -> Part:
  """[G, ...] and [B, ...] -> [num_parts, ...]; prompts stay with their rows.

  Part i takes every num_parts-th prompt, so that each part is spread over all
  devices as the whole was. More parts than prompts share a prompt's rows out.
  group_ids are numbered anew within each part.
  """
  num_prompts = part.prompts.prompt_ids.shape[0]
  samples = part.completion_tokens.shape[0] // num_prompts
  groups = min(num_parts, num_prompts)
  shares = num_parts // groups

  def split_prompts(x):
    x = x.reshape(num_prompts // groups, groups, *x.shape[1:]).swapaxes(0, 1)
    return jnp.repeat(x, shares, axis=0)

  def split_rows(x):
    x = x.reshape(
      num_prompts // groups, groups, shares, samples // shares, *x.shape[1:]
    )
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(num_parts, -1, *x.shape[4:])

  fields = {
    name: split_rows(x)
    if checks.has_rows(name, x)
    else jnp.stack([x] * num_parts)
    for name, x in part.fields.items()
  }
  completion_tokens = split_rows(part.completion_tokens)
  if "group_ids" in fields:
    prompts = jnp.arange(num_prompts // groups, dtype=jnp.int32)
    rows = completion_tokens.shape[1] // prompts.shape[0]
    local = jnp.repeat(prompts, rows)
    fields["group_ids"] = jnp.broadcast_to(local, fields["group_ids"].shape)
  return Part(
    prompts=jax.tree.map(split_prompts, part.prompts),
    completion_tokens=completion_tokens,
    fields=fields,
  )


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


def joined_rows(x: jax.Array, num_prompts: int) -> jax.Array:
  """Undoes the split of rows: [num_parts, rows, ...] -> [B, ...]."""
  num_parts, rows = x.shape[:2]
  groups = min(num_parts, num_prompts)
  shares = num_parts // groups
  prompts = num_prompts // groups
  x = x.reshape(groups, shares, prompts, rows // prompts, *x.shape[2:])
  return jnp.moveaxis(x, 2, 0).reshape(num_parts * rows, *x.shape[4:])


def splits_evenly(num_parts: int, num_prompts: int, samples: int) -> bool:
  """Whether a batch of num_prompts * samples rows has so many equal parts."""
  if num_parts <= num_prompts:
    return num_prompts % num_parts == 0
  return (
    num_parts % num_prompts == 0 and samples % (num_parts // num_prompts) == 0
  )
