"""Sets of options verified: on token ids inside jit, and in plain Python.

The answer is what follows the last "#". A completion is

  truncated  without an end token,
  unparsed   without a "#", or if anything but letters of options follows the
             last one, or nothing,
  correct    if these are the letters of the true options, in alphabetical
             order,
  wrong      otherwise: the right letters in another order, or one of them
             twice, are wrong as well.
"""

import jax
import jax.numpy as jnp

from rlvr_jax.data import boolean_expressions
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.rewards import verdicts

_V = vocabulary_lib.LOGIC
_HASH = _V.id("#")
_FIRST_LETTER = _V.id(boolean_expressions.LETTERS[0])
_NUM_LETTERS = len(boolean_expressions.LETTERS)


def option_outcomes(
  *, completion_tokens: jax.Array, true_options: jax.Array
) -> jax.Array:
  """Judges completions on token ids.

  Args:
    completion_tokens: i32[B, T], of `vocabulary.LOGIC`.
    true_options: i32[B, N], 1 where an option is true and 0 where not.

  Returns:
    i32[B], indices into `records.OUTCOMES`.
  """
  missing = _NUM_LETTERS - true_options.shape[1]
  true_options = jnp.pad(true_options, ((0, 0), (0, missing)))
  is_end = completion_tokens == _V.eos_id
  ended = jnp.any(is_end, axis=1)
  place = jnp.arange(completion_tokens.shape[1])[None]
  end = jnp.argmax(is_end, axis=1)[:, None]
  is_hash = (completion_tokens == _HASH) & (place < end)
  # -1 without a "#"; what is then read is not used.
  start = jnp.max(jnp.where(is_hash, place, -1), axis=1, keepdims=True)
  inside = (place > start) & (place < end)
  letter = completion_tokens - _FIRST_LETTER
  is_letter = (letter >= 0) & (letter < _NUM_LETTERS)
  count = jnp.sum(inside, axis=1)
  parsed = (start[:, 0] >= 0) & (count > 0)
  parsed &= jnp.all(is_letter | ~inside, axis=1)
  is_true = jnp.take_along_axis(
    true_options, jnp.clip(letter, 0, _NUM_LETTERS - 1), axis=1
  )
  grows = jnp.diff(letter, axis=1) > 0
  # So many different letters, each of a true option: all of them.
  right = (
    jnp.all((is_true == 1) | ~inside, axis=1)
    & jnp.all(grows | ~(inside[:, 1:] & inside[:, :-1]), axis=1)
    & (count == jnp.sum(true_options, axis=1))
  )
  return verdicts.verdicts(ended=ended, parsed=parsed, right=right)


def option_outcome_of_text(
  text: str | None, true_options: tuple[int, ...]
) -> str:
  """The same verdict on a text, written the plain way.

  Args:
    text: the completion up to its end token; None if it had none.
    true_options: 1 where an option is true and 0 where not.

  Returns:
    A name of `records.OUTCOMES`.
  """
  if text is None:
    return "truncated"
  _, hash_sign, last = text.rpartition("#")
  if not hash_sign or not last or last.strip(boolean_expressions.LETTERS):
    return "unparsed"
  right = last == boolean_expressions.letters(true_options)
  return "correct" if right else "wrong"
