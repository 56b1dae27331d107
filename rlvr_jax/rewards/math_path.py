"""Filled equations verified: on token ids inside jit, and in plain Python.

The answer is what follows the last "#". A completion is

  truncated  without an end token,
  unparsed   without a "#", or if anything but digits, operators and "=" follows
             the last one, or nothing,
  wrong      if this is not the equation of the prompt with a digit for every
             hidden one, divides by zero or with a remainder, or does not hold,
  correct    otherwise: the digits need not be those that made the problem.
"""

import re

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.data import math_path
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.rewards import verdicts

_V = vocabulary_lib.LOGIC
_HASH, _HIDDEN, _EQUALS = map(_V.id, ("#", math_path.HIDDEN, "="))
_PLUS, _MINUS, _TIMES, _OVER, _MODULO = map(_V.id, math_path.OPERATORS)
_WRITTEN = "0123456789=" + math_path.OPERATORS
_WRITTEN_IDS = np.array([_V.id(symbol) for symbol in _WRITTEN], np.int32)


def equation_outcomes(
  *, completion_tokens: jax.Array, template: jax.Array, target: jax.Array
) -> jax.Array:
  """Judges completions on token ids.

  Args:
    completion_tokens: i32[B, T], of `vocabulary.LOGIC`.
    template: i32[B, W], token ids of the equation with its hidden digits;
      `math_path.NO_SYMBOL` behind them.
    target: i32[B], the right side of the equation.

  Returns:
    i32[B], indices into `records.OUTCOMES`.
  """
  length = completion_tokens.shape[1]
  is_end = completion_tokens == _V.eos_id
  ended = jnp.any(is_end, axis=1)
  place = jnp.arange(length)[None]
  end = jnp.argmax(is_end, axis=1)[:, None]
  is_hash = (completion_tokens == _HASH) & (place < end)
  # -1 without a "#"; what is then read is not used.
  start = jnp.max(jnp.where(is_hash, place, -1), axis=1, keepdims=True)
  inside = (place > start) & (place < end)
  count = jnp.sum(inside, axis=1)
  is_written = jnp.any(
    completion_tokens[:, :, None] == _WRITTEN_IDS[None, None], axis=2
  )
  parsed = (start[:, 0] >= 0) & (count > 0)
  parsed &= jnp.all(is_written | ~inside, axis=1)
  # The answer from its first token on, beside the template: i32[B, W].
  at = start + 1 + jnp.arange(template.shape[1])[None]
  answer = jnp.take_along_axis(
    completion_tokens, jnp.minimum(at, length - 1), axis=1
  )
  digit = answer - vocabulary_lib.FIRST_DIGIT
  is_digit = (digit >= 0) & (digit <= 9)
  fits = jnp.where(template == _HIDDEN, is_digit, answer == template)
  is_template = template != math_path.NO_SYMBOL
  fills = jnp.all(fits | ~is_template, axis=1) & (
    count == jnp.sum(is_template, axis=1)
  )
  right = fills & _holds(answer, target)
  return verdicts.verdicts(ended=ended, parsed=parsed, right=right)


def _holds(equation: jax.Array, target: jax.Array) -> jax.Array:
  """Whether what stands before "=" is exact and has the value; bool[B].

  Args:
    equation: i32[B, W], single digits and operators by turns up to the "=";
      whatever else gives no error, and a value without meaning.
    target: i32[B].
  """
  zeros = jnp.zeros(equation.shape[0], jnp.int32)

  def read(state, token):
    total, sign, product, operator, exact, done = state
    digit = token - vocabulary_lib.FIRST_DIGIT
    is_digit = (digit >= 0) & (digit <= 9)
    is_sign = (token == _PLUS) | (token == _MINUS)
    closes = is_sign | (token == _EQUALS)
    divisor = jnp.maximum(digit, 1)
    grown = jnp.where(
      operator == _TIMES,
      product * digit,
      jnp.where(operator == _OVER, product // divisor, product % divisor),
    )
    leaves = (operator == _OVER) & (product % divisor != 0)
    divides = (operator == _OVER) | (operator == _MODULO)
    bad = is_digit & divides & (leaves | (digit == 0))
    new = (
      jnp.where(closes, total + sign * product, total),
      jnp.where(is_sign, jnp.where(token == _MINUS, -1, 1), sign),
      jnp.where(closes, 1, jnp.where(is_digit, grown, product)),
      # The first digit of a term multiplies the 1 that stands there.
      jnp.where(closes, _TIMES, jnp.where(is_digit, operator, token)),
      exact & ~bad,
      done | (token == _EQUALS),
    )
    keep = lambda old, fresh: jnp.where(done, old, fresh)
    return jax.tree.map(keep, state, new), None

  yes = zeros == 0
  start = (zeros, zeros + 1, zeros + 1, zeros + _TIMES, yes, ~yes)
  (total, _, _, _, exact, done), _ = lax.scan(read, start, equation.T)
  return done & exact & (total == target)


def equation_outcome_of_text(
  text: str | None, template: str, target: int
) -> str:
  """The same verdict on a text, written the plain way.

  Args:
    text: the completion up to its end token; None if it had none.
    template: the equation with its hidden digits.
    target: its right side.

  Returns:
    A name of `records.OUTCOMES`.
  """
  if text is None:
    return "truncated"
  _, hash_sign, last = text.rpartition("#")
  if not hash_sign or not last or last.strip(_WRITTEN):
    return "unparsed"
  pattern = re.escape(template).replace(re.escape(math_path.HIDDEN), "[0-9]")
  fills = re.fullmatch(pattern, last)
  holds = fills and math_path.value(last.partition("=")[0]) == target
  return "correct" if holds else "wrong"
