"""Countdown verified twice: on token ids inside jit, and in plain Python.

Both read "a+b=c" equations joined by commas, in canonical decimals (no sign,
no leading zero, at most four digits). A question mark abandons all that was
written before it. What is left of a completion is

  truncated  without an end token,
  unparsed   if it is not such a list,
  wrong      if it has not exactly one equation less than there are numbers,
             an equation does not hold, uses a number that is not in the pool
             (each result goes back into it), or the last result is not the
             target,
  correct    otherwise.
"""

import functools
import re

from flax import struct
import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax.data import countdown
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.rewards import verdicts

_V = vocabulary_lib.ARITHMETIC
_PLUS, _MINUS, _TIMES, _EQUALS, _COMMA = map(_V.id, "+-*=,")
_DOUBT = _V.id(countdown.DOUBT)
_MAX_DIGITS = 4


@struct.dataclass
class _Parser:
  """Where a row stands: reading a (phase 0), b (1) or c (2) of "a+b=c"."""

  phase: jax.Array
  number: jax.Array
  digits: jax.Array
  a: jax.Array
  b: jax.Array
  operator: jax.Array
  equations: jax.Array
  pool: jax.Array
  last: jax.Array
  parsed: jax.Array
  holds: jax.Array
  ended: jax.Array


def countdown_outcomes(
  *,
  completion_tokens: jax.Array,
  numbers: jax.Array,
  target: jax.Array,
) -> jax.Array:
  """Judges completions on token ids, in one scan over their positions.

  Args:
    completion_tokens: i32[B, T].
    numbers: i32[B, N], the numbers to use; `countdown.NO_NUMBER` is none.
    target: i32[B], the value to reach.

  Returns:
    i32[B], indices into `records.OUTCOMES`.
  """
  zeros = jnp.zeros(completion_tokens.shape[0], jnp.int32)
  start = _Parser(
    phase=zeros,
    number=zeros,
    digits=zeros,
    a=zeros,
    b=zeros,
    operator=zeros,
    equations=zeros,
    pool=numbers,
    last=zeros,
    parsed=zeros == 0,
    holds=zeros == 0,
    ended=zeros != 0,
  )
  end, _ = lax.scan(functools.partial(_read, start), start, completion_tokens.T)
  count = jnp.sum(numbers != countdown.NO_NUMBER, axis=1, dtype=jnp.int32)
  solved = end.holds & (end.equations == count - 1) & (end.last == target)
  return verdicts.verdicts(ended=end.ended, parsed=end.parsed, right=solved)


def _read(
  start: _Parser, state: _Parser, token: jax.Array
) -> tuple[_Parser, None]:
  """Advances every row by one token; ended rows stay as they are."""
  digit = token - vocabulary_lib.FIRST_DIGIT
  is_digit = (digit >= 0) & (digit <= 9)
  is_operator = (token == _PLUS) | (token == _MINUS) | (token == _TIMES)
  is_eos = token == _V.eos_id
  closes = (token == _COMMA) | is_eos
  has_number = state.digits > 0
  fits = (state.digits < _MAX_DIGITS) & ~(has_number & (state.number == 0))
  legal = (
    (is_digit & fits)
    | (is_operator & has_number & (state.phase == 0))
    | ((token == _EQUALS) & has_number & (state.phase == 1))
    | (closes & has_number & (state.phase == 2))
  )
  closed = _close_equation(state)
  pick = lambda condition, new, old: jnp.where(condition, new, old)
  # Clamped, so that no illegal run of digits can overflow.
  grown = jnp.minimum(state.number, 10**_MAX_DIGITS) * 10 + digit
  advanced = _Parser(
    phase=pick(is_digit, state.phase, pick(closes, 0, state.phase + 1)),
    number=pick(is_digit, grown, 0),
    digits=pick(is_digit, state.digits + 1, 0),
    a=pick(is_operator, state.number, state.a),
    b=pick(token == _EQUALS, state.number, state.b),
    operator=pick(is_operator, token, state.operator),
    equations=state.equations + closes.astype(jnp.int32),
    pool=pick(closes[:, None], closed.pool, state.pool),
    last=pick(closes, state.number, state.last),
    parsed=state.parsed & legal,
    holds=pick(closes, closed.holds, state.holds),
    ended=state.ended | is_eos,
  )
  where = lambda rows, new, old: jnp.where(
    rows.reshape(-1, *[1] * (new.ndim - 1)), new, old
  )
  again = functools.partial(where, token == _DOUBT)
  advanced = jax.tree.map(again, start, advanced)
  frozen = functools.partial(where, state.ended)
  return jax.tree.map(frozen, state, advanced), None


def _close_equation(state: _Parser) -> _Parser:
  """The equation just read, with c = number, taken against the pool."""
  value = jnp.where(
    state.operator == _PLUS,
    state.a + state.b,
    jnp.where(state.operator == _MINUS, state.a - state.b, state.a * state.b),
  )
  pool, has_a = _take_out(state.pool, state.a, put_back=None)
  pool, has_b = _take_out(pool, state.b, put_back=state.number)
  return state.replace(
    pool=pool, holds=state.holds & has_a & has_b & (value == state.number)
  )


def _take_out(pool: jax.Array, number: jax.Array, put_back: jax.Array | None):
  """Replaces the first slot that holds the number; also says if there is."""
  matches = pool == number[:, None]
  slot = jnp.argmax(matches, axis=1)
  found = jnp.any(matches, axis=1)
  here = (jnp.arange(pool.shape[1])[None] == slot[:, None]) & found[:, None]
  fill = countdown.NO_NUMBER if put_back is None else put_back[:, None]
  return jnp.where(here, fill, pool), found


_NUMBER = r"(0|[1-9][0-9]{0,3})"
_EQUATION = re.compile(rf"{_NUMBER}([-+*]){_NUMBER}={_NUMBER}")


def countdown_outcome_of_text(
  text: str | None, numbers: tuple[int, ...], target: int
) -> str:
  """The same verdict on a text, written the plain way.

  Args:
    text: the completion up to its end token; None if it had none.
    numbers: the numbers to use; `countdown.NO_NUMBER` is none.
    target: the value to reach.

  Returns:
    A name of `records.OUTCOMES`.
  """
  if text is None:
    return "truncated"
  kept = text.rpartition(countdown.DOUBT)[2]
  equations = [_EQUATION.fullmatch(part) for part in kept.split(",")]
  if not all(equations):
    return "unparsed"
  pool, last = [n for n in numbers if n != countdown.NO_NUMBER], None
  wanted = len(pool) - 1
  for equation in equations:
    a, b, last = (int(equation[group]) for group in (1, 3, 4))
    value = {"+": a + b, "-": a - b, "*": a * b}[equation[2]]
    for operand in (a, b):
      if operand not in pool:
        return "wrong"
      pool.remove(operand)
    if value != last:
      return "wrong"
    pool.append(last)
  solved = len(equations) == wanted and last == target
  return "correct" if solved else "wrong"
