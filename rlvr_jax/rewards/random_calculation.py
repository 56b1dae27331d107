"""RandomCalculation verified: chains on token ids, values by closeness.

A chain's answer is what follows the last "#", a canonical decimal of at most
four digits; the steps before it are not looked at, so a correct answer over
wrong steps counts (and shows as unfaithful reasoning in the samples).
"""

import re

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.rewards import verdicts

_V = vocabulary_lib.ARITHMETIC
_HASH = _V.id("#")
_MAX_DIGITS = 4


def chain_outcomes(
  *, completion_tokens: jax.Array, answer: jax.Array
) -> jax.Array:
  """Judges chain completions on token ids.

  Args:
    completion_tokens: i32[B, T].
    answer: i32[B].

  Returns:
    i32[B], indices into `records.OUTCOMES`: truncated without an end token,
    unparsed without a canonical number after the last "#", else correct or
    wrong.
  """
  zeros = jnp.zeros(completion_tokens.shape[0], jnp.int32)

  def read(state, token):
    number, digits, canonical, seen, ended = state
    digit = token - vocabulary_lib.FIRST_DIGIT
    is_digit = (digit >= 0) & (digit <= 9)
    is_hash, is_eos = token == _HASH, token == _V.eos_id
    fits = (digits < _MAX_DIGITS) & ~((digits > 0) & (number == 0))
    grown = jnp.minimum(number, 10**_MAX_DIGITS) * 10 + digit
    new = (
      jnp.where(is_hash, 0, jnp.where(is_digit, grown, number)),
      jnp.where(is_hash, 0, digits + is_digit.astype(jnp.int32)),
      is_hash | (canonical & (is_eos | (is_digit & fits))),
      seen | is_hash,
      ended | is_eos,
    )
    keep = lambda old, fresh: jnp.where(ended, old, fresh)
    return jax.tree.map(keep, state, new), None

  no = zeros != 0
  (number, digits, canonical, seen, ended), _ = lax.scan(
    read, (zeros, zeros, no, no, no), completion_tokens.T
  )
  parsed = seen & canonical & (digits > 0)
  return verdicts.verdicts(ended=ended, parsed=parsed, right=number == answer)


_ANSWER = re.compile(r"0|[1-9][0-9]{0,3}")


def chain_outcome_of_text(text: str | None, answer: int) -> str:
  """The same verdict on a text (None: no end token), written the plain way."""
  if text is None:
    return "truncated"
  _, hash_sign, last = text.rpartition("#")
  if not hash_sign or not _ANSWER.fullmatch(last):
    return "unparsed"
  return "correct" if int(last) == answer else "wrong"


def closeness(*, predicted: jax.Array, answer: jax.Array) -> jax.Array:
  """Graded reward of a numeric prediction, in [0, 1].

  reward = 1 - 0.5 min(|a - b|, 1) - 0.5 min(|a - b| / (|b| + 1e-6), 1)

  See "Reasoning or Memorization? Unreliable Results of Reinforcement Learning
  Due to Data Contamination" (https://arxiv.org/abs/2507.10532) [paper
  excerpt: text copy]. A prediction that does not parse earns 0 [inferred]:
  pass NaN for it.

  Args:
    predicted: f32[B], a.
    answer: f32[B], b.

  Returns:
    f32[B].
  """
  gap = jnp.abs(predicted - answer)
  reward = (
    1.0
    - 0.5 * jnp.minimum(gap, 1.0)
    - 0.5 * jnp.minimum(gap / (jnp.abs(answer) + 1e-6), 1.0)
  )
  return jnp.where(jnp.isnan(predicted), 0.0, reward)
