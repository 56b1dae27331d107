"""Dyck words verified twice: on token ids inside jit, and in plain Python.

A completion is

  truncated  without an end token,
  unparsed   if it is empty or anything but brackets,
  correct    if it is the closing brackets that the word lacks, in their order,
  wrong      otherwise: a longer completion that balances is wrong as well.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.data import dyck
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.rewards import verdicts

_V = vocabulary_lib.ARITHMETIC
_CLOSERS = np.array([_V.id(pair[1]) for pair in dyck.KINDS], np.int32)
_BRACKETS = np.array([_V.id(x) for pair in dyck.KINDS for x in pair], np.int32)


def dyck_outcomes(
  *, completion_tokens: jax.Array, closing: jax.Array
) -> jax.Array:
  """Judges completions on token ids.

  Args:
    completion_tokens: i32[B, T].
    closing: i32[B, N], kinds of the brackets that the word lacks, in the order
      of the answer; `dyck.NO_BRACKET` behind them.

  Returns:
    i32[B], indices into `records.OUTCOMES`.
  """
  length = completion_tokens.shape[1]
  is_end = completion_tokens == _V.eos_id
  ended = jnp.any(is_end, axis=1)
  # Tokens before the end.
  count = jnp.argmax(is_end, axis=1)
  inside = jnp.arange(length)[None] < count[:, None]
  is_bracket = jnp.any(
    completion_tokens[:, :, None] == _BRACKETS[None, None], axis=2
  )
  parsed = jnp.all(is_bracket | ~inside, axis=1) & (count > 0)
  wanted = jnp.where(
    closing == dyck.NO_BRACKET, _V.pad_id, jnp.asarray(_CLOSERS)[closing]
  )
  # To T places; an answer that is longer cannot have ended.
  missing = max(length - wanted.shape[1], 0)
  wanted = jnp.pad(wanted, ((0, 0), (0, missing)))[:, :length]
  num_wanted = jnp.sum(closing != dyck.NO_BRACKET, axis=1)
  same = jnp.all((completion_tokens == wanted) | ~inside, axis=1)
  right = same & (count == num_wanted)
  return verdicts.verdicts(ended=ended, parsed=parsed, right=right)


def dyck_outcome_of_text(text: str | None, closing: tuple[int, ...]) -> str:
  """The same verdict on a text, written the plain way.

  Args:
    text: the completion up to its end token; None if it had none.
    closing: kinds of the brackets that the word lacks; `dyck.NO_BRACKET` is
      none.

  Returns:
    A name of `records.OUTCOMES`.
  """
  if text is None:
    return "truncated"
  if not text or text.strip("".join(dyck.KINDS)):
    return "unparsed"
  kinds = [kind for kind in closing if kind != dyck.NO_BRACKET]
  answer = "".join(dyck.KINDS[kind][1] for kind in kinds)
  return "correct" if text == answer else "wrong"
