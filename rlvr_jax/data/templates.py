"""A prompt with a demonstration in it, put together from token ids.

A template is text with the placeholders {prompt} and {demonstration}. Its
literal parts are encoded once; the ids of prompt and demonstration go in as
they are, since a text encoded anew may come back as other tokens.
"""

from collections.abc import Callable, Sequence
import re

import jax
import jax.numpy as jnp

from rlvr_jax import records
from rlvr_jax import settings

PLACEHOLDERS = ("prompt", "demonstration")
# A placeholder by its name, or the ids of a literal part.
Piece = str | tuple[int, ...]


def parse(
  template: str, encode: Callable[[str], Sequence[int]]
) -> tuple[Piece, ...]:
  """The pieces of a template in order.

  Example: with one id a character, parse("{demonstration}|{prompt}", ...) is
  ("demonstration", (24,), "prompt").

  Args:
    template: text that names each placeholder once.
    encode: text -> token ids, for the literal parts.

  Raises:
    errors.UserError: if a placeholder is missing or comes twice.
  """
  for name in PLACEHOLDERS:
    found = template.count(f"{{{name}}}")
    settings.require(
      found == 1,
      f"config.teacher.template is {template!r}, with {{{name}}} {found} times:"
      " name it exactly once",
    )
  parts = re.split(r"\{(prompt|demonstration)\}", template)
  # Literal and placeholder take turns.
  pieces = [
    part if i % 2 else tuple(map(int, encode(part)))
    for i, part in enumerate(parts)
  ]
  return tuple(piece for piece in pieces if piece)


def literal_tokens(pieces: Sequence[Piece]) -> int:
  """Number of tokens in the literal parts."""
  return sum(len(piece) for piece in pieces if not isinstance(piece, str))


def fill(
  pieces: Sequence[Piece],
  prompts: records.PromptBatch,
  demonstrations: jax.Array,
  demonstration_mask: jax.Array,
  *,
  width: int,
  pad_id: int,
  tail: Sequence[int] = (),
) -> tuple[records.PromptBatch, jax.Array]:
  """The prompts with a demonstration in each; works inside jit.

  Where the whole is longer than `width`, the demonstration loses tokens at its
  beginning; the literal parts and the prompt stay whole.

  Args:
    pieces: of `parse`.
    prompts: B prompts, left-padded to at most width less the literal parts.
    demonstrations: i32[B, L].
    demonstration_mask: f32[B, L], 1 on their tokens, in any places.
    width: length of the new bucket.
    pad_id: padding token.
    tail: what every prompt ends with, such as the opening of an assistant's
      turn; it ends the whole instead.

  Returns:
    PromptBatch [B, width], left-padded, with the ids, answers and hints of
    `prompts`; and f32[B], how many tokens the demonstration lost.
  """
  shown = demonstration_mask > 0
  # Tokens from here to the demonstration's end, this one included.
  to_end = jnp.cumsum(shown[:, ::-1], axis=1)[:, ::-1]
  taken = jnp.sum(prompts.prompt_mask > 0, axis=1) + literal_tokens(pieces)
  room = (width - taken)[:, None]
  lost = jnp.maximum(to_end[:, :1] - room, 0)[:, 0].astype(jnp.float32)
  in_body = jnp.arange(prompts.prompt_mask.shape[1]) < (
    prompts.prompt_mask.shape[1] - len(tail)
  )
  named = {
    "prompt": (
      prompts.prompt_tokens,
      (prompts.prompt_mask > 0) & in_body[None],
    ),
    "demonstration": (demonstrations, shown & (to_end <= room)),
  }
  rows = demonstrations.shape[0]

  def laid_out(piece: Piece):
    if isinstance(piece, str):
      return named[piece]
    tokens = jnp.broadcast_to(jnp.array(piece, jnp.int32), (rows, len(piece)))
    return tokens, jnp.ones(tokens.shape, bool)

  tokens, mask = (
    jnp.concatenate(x, axis=1)
    for x in zip(*map(laid_out, (*pieces, tuple(tail))), strict=True)
  )
  missing = max(width - tokens.shape[1], 0)
  tokens, mask = (jnp.pad(x, ((0, 0), (missing, 0))) for x in (tokens, mask))
  # Pads first, real tokens in their order after them.
  order = jnp.argsort(mask, axis=1, stable=True)[:, -width:]
  mask = jnp.take_along_axis(mask, order, axis=1)
  tokens = jnp.take_along_axis(tokens, order, axis=1)
  filled = prompts.replace(
    prompt_tokens=jnp.where(mask, tokens, pad_id).astype(jnp.int32),
    prompt_mask=mask.astype(jnp.float32),
  )
  return filled, lost
