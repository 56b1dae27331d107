"""The Countdown verifier on token ids says what its Python twin says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import rewards
from rlvr_jax.data import countdown
from rlvr_jax.data import vocabulary
from tests.rewards import twins

_V = vocabulary.ARITHMETIC
_LENGTH = 24
# The longest solution of six numbers has 38 tokens.
_LONG = 40
_NUMBERS, _TARGET = (6, 1, 5), 11

# Text and outcome for numbers 6 1 5 and target 11; None has no end token.
_HOSTILE = [
  ("6-1=5,5+6=11", "wrong"),
  ("6-1=5,5+5=10", "wrong"),
  ("6*1=6,6+5=11", "correct"),
  ("6/1=6,6+5=11", "unparsed"),
  ("5+6=11,11*1=11", "correct"),
  ("5+6=11,11-1=10,10+1=11", "wrong"),
  ("5+6=11", "wrong"),
  ("11=11", "unparsed"),
  ("", "unparsed"),
  (",", "unparsed"),
  ("=", "unparsed"),
  ("5+6=11,", "unparsed"),
  (",5+6=11", "unparsed"),
  ("5+6=11,,11*1=11", "unparsed"),
  ("5+6=11 ,11*1=11", "unparsed"),
  ("05+6=11,11*1=11", "unparsed"),
  ("5+6=011,11*1=11", "unparsed"),
  ("5+6=11,11*1=11>", "unparsed"),
  ("5+6=12,12-1=11", "wrong"),
  ("9+2=11,11*1=11", "wrong"),
  ("5+5=10,10+1=11", "wrong"),
  ("1-5=4,4+6=10", "wrong"),
  ("5-5=0,0+11=11", "wrong"),
  ("6+5=11,11-0=11", "wrong"),
  ("-6+5=11,11*1=11", "unparsed"),
  ("6+-5=11,11*1=11", "unparsed"),
  ("6+5=+11,11*1=11", "unparsed"),
  ("6+5=5+6,11*1=11", "unparsed"),
  ("6+5==11,11*1=11", "unparsed"),
  ("6++5=11,11*1=11", "unparsed"),
  ("6+5+1=12,12-1=11", "unparsed"),
  ("99999*1=99999", "unparsed"),
  ("9999*9999=9999", "wrong"),
  ("99999999999999999999999", "unparsed"),
  ("6+5=11,11*1=11.", "unparsed"),
  ("(6+5)*1=11", "unparsed"),
  ("6+5=11#11", "unparsed"),
  ("6+5=11,11*1=11?", "unparsed"),
  ("6<pad>+5=11,11*1=11", "unparsed"),
  ("<pad>6+5=11,11*1=11", "unparsed"),
  (None, "truncated"),
]


# Text, numbers, target and outcome where problems of two and of six numbers
# share a batch.
_TWO, _SIX = (6, 5, -1, -1, -1, -1), (2, 3, 4, 5, 6, 7)
_RAGGED = [
  ("6+5=11", _TWO, 11, "correct"),
  ("6-5=1", _TWO, 11, "wrong"),
  ("6+6=12", _TWO, 12, "wrong"),
  ("6+5=11,11+11=22", _TWO, 22, "wrong"),
  ("6+5=11,11*1=11", _TWO, 11, "wrong"),
  ("", _TWO, 11, "unparsed"),
  ("6+-1=5", _TWO, 5, "unparsed"),
  (None, _TWO, 11, "truncated"),
  ("6+5=11", (-1, 6, -1, 5, -1, -1), 11, "correct"),
  ("2+3=5,5-4=1,1*5=5,6+5=11,11+7=18", _SIX, 18, "correct"),
  ("7-6=1,5-4=1,3-2=1,1*1=1,1*1=1", _SIX, 1, "correct"),
  ("7-6=1,5-4=1,3-2=1,1*1=1,1*1=1", _SIX, 2, "wrong"),
  ("7-6=1,5-4=1,3-2=1,1*1=1", _SIX, 1, "wrong"),
  ("7-6=1,5-4=1,3-2=1,1*1=1,1*1=1,1*1=1", _SIX, 1, "wrong"),
  ("6+5=11", _SIX, 11, "wrong"),
  ("7-6=1,7-5=2,3-2=1,1*1=1,2-1=1", _SIX, 1, "wrong"),
  ("9*9=81,9-1=8,81+8=89,89+1=90,90+9=99", (9, 9, 9, 1, 1, 9), 99, "correct"),
]


@functools.partial(jax.jit)
def _device(tokens, numbers, target):
  return rewards.countdown_outcomes(
    completion_tokens=tokens, numbers=numbers, target=target
  )


def _encode(text, length=_LENGTH):
  return twins.encoded(text, _V, length, "6")


def _padded(numbers, width):
  return numbers + (countdown.NO_NUMBER,) * (width - len(numbers))


def _judge(rows, numbers, targets):
  outcomes = _device(
    jnp.asarray(rows, jnp.int32),
    jnp.asarray(numbers, jnp.int32),
    jnp.asarray(targets, jnp.int32),
  )
  return twins.names(outcomes)


def test_hostile_completions_are_judged_as_written_here():
  count = len(_HOSTILE)
  device = _judge(
    [_encode(text) for text, _ in _HOSTILE],
    [_NUMBERS] * count,
    [_TARGET] * count,
  )
  for (text, expected), ours in zip(_HOSTILE, device, strict=True):
    twin = rewards.countdown_outcome_of_text(text, _NUMBERS, _TARGET)
    assert (text, ours, twin) == (text, expected, expected)


def test_problems_of_two_and_six_numbers_are_judged_in_one_batch():
  texts, numbers, targets, expected = zip(*_RAGGED, strict=True)
  device = _judge([_encode(text, _LONG) for text in texts], numbers, targets)
  twin = [rewards.countdown_outcome_of_text(*row[:3]) for row in _RAGGED]
  assert list(zip(texts, device, strict=True)) == [
    (row[0], row[3]) for row in _RAGGED
  ]
  assert twin == list(expected)


@pytest.mark.parametrize(
  "weights, length",
  [({3: 1}, _LENGTH), ({2: 1, 3: 1, 4: 1, 5: 1, 6: 1}, _LONG)],
  ids=["three", "mixed"],
)
def test_twenty_thousand_random_completions_agree_with_the_twin(
  weights, length
):
  rng = np.random.default_rng(0)
  problems = countdown.problems(0, weights, 2000, 1, 1)["train"]
  symbols = np.array(
    [*_V.encode("0123456789+-*=,"), _V.eos_id, _V.pad_id, _V.id("#")]
  )
  drawn = [problems[i] for i in rng.integers(len(problems), size=20_000)]
  rows = [
    twins.damaged(
      rng,
      _V.encode(p.solutions[rng.integers(len(p.solutions))]),
      symbols,
      _V,
      length,
      noise=0.1,
      most=3,
    )
    for p in drawn
  ]
  numbers = [_padded(p.numbers, max(weights)) for p in drawn]
  targets = [p.target for p in drawn]
  expected = [
    rewards.countdown_outcome_of_text(twins.text_of(row, _V), pool, target)
    for row, pool, target in zip(rows, numbers, targets, strict=True)
  ]
  twins.assert_agree(_judge(np.stack(rows), numbers, targets), expected)


@pytest.mark.parametrize("count", [2, 4])
def test_other_numbers_of_numbers(count):
  problems = countdown.problems(1, {count: 1}, 200, 1, 1)["train"]
  rows = [_encode(problem.solutions[0], 32) for problem in problems]
  outcomes = _judge(
    rows, [p.numbers for p in problems], [p.target for p in problems]
  )
  assert set(outcomes) == {"correct"}


@pytest.mark.parametrize(
  "text, outcome",
  [
    ("6+1=7,7+5=12?6-1=5,5+6=11", "wrong"),
    ("6+1=7,7+5=12?6-1=5,5+5=10", "correct"),
    ("6+1=7,7?6-1=5,5+5=10", "correct"),
    ("??6-1=5,5+5=10", "correct"),
    ("6-1=5,5+5=10?", "unparsed"),
    ("6-1=5?5+5=10", "wrong"),
  ],
)
def test_a_question_mark_abandons_what_was_before_it(text, outcome):
  numbers, target = (6, 1, 5), 10
  assert rewards.countdown_outcome_of_text(text, numbers, target) == outcome
  assert _judge([_encode(text, 30)], [numbers], [target]) == [outcome]
