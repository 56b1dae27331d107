"""The verifier of sets of options says what its Python twin says."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.data import boolean_expressions
from rlvr_jax.data import vocabulary
from rlvr_jax.rewards import boolean_expressions as rewards
from tests.rewards import twins

_V = vocabulary.LOGIC
_LENGTH = 10

# Text, true options and outcome; None has no end token.
_HOSTILE = [
  ("#AC", (1, 0, 1, 0), "correct"),
  ("A#B#AC", (1, 0, 1, 0), "correct"),
  ("1<2#AC", (1, 0, 1, 0), "correct"),
  ("<pad>#AC", (1, 0, 1, 0), "correct"),
  ("#CA", (1, 0, 1, 0), "wrong"),
  ("#AA", (1, 0, 1, 0), "wrong"),
  ("#AAC", (1, 0, 1, 0), "wrong"),
  ("#A", (1, 0, 1, 0), "wrong"),
  ("#ABC", (1, 0, 1, 0), "wrong"),
  ("#AB", (1, 0, 1, 0), "wrong"),
  ("#AC#A", (1, 0, 1, 0), "wrong"),
  # No such option.
  ("#ACE", (1, 0, 1, 0), "wrong"),
  ("#F", (1, 0, 1, 0), "wrong"),
  ("AC", (1, 0, 1, 0), "unparsed"),
  ("#", (1, 0, 1, 0), "unparsed"),
  ("#AC#", (1, 0, 1, 0), "unparsed"),
  ("", (1, 0, 1, 0), "unparsed"),
  ("", (0, 0, 0, 0), "unparsed"),
  ("#", (0, 0, 0, 0), "unparsed"),
  ("# AC", (1, 0, 1, 0), "unparsed"),
  ("#A,C", (1, 0, 1, 0), "unparsed"),
  ("#AC>", (1, 0, 1, 0), "unparsed"),
  ("#T", (1, 0, 1, 0), "unparsed"),
  ("#AT", (1, 0, 1, 0), "unparsed"),
  ("#A<pad>C", (1, 0, 1, 0), "unparsed"),
  ("#AC<pad>", (1, 0, 1, 0), "unparsed"),
  ("#ABCD", (1, 1, 1, 1), "correct"),
  ("#ABCDEF", (1, 1, 1, 1, 1, 1), "correct"),
  ("#D", (0, 0, 0, 1), "correct"),
  (None, (1, 0, 1, 0), "truncated"),
]


@jax.jit
def _device(tokens, true_options):
  return rewards.option_outcomes(
    completion_tokens=tokens, true_options=true_options
  )


def _encode(text, length=_LENGTH):
  return twins.encoded(text, _V, length, "#A")


def _judge(rows, true_options):
  outcomes = _device(
    jnp.asarray(rows, jnp.int32), jnp.asarray(true_options, jnp.int32)
  )
  return twins.names(outcomes)


def test_hostile_completions_are_judged_as_written_here():
  for text, options, expected in _HOSTILE:
    (ours,) = _judge([_encode(text)], [options])
    twin = rewards.option_outcome_of_text(text, options)
    assert (text, ours, twin) == (text, expected, expected)


def test_what_stands_behind_the_end_does_not_count():
  row = [*_V.encode("#B"), _V.eos_id, *_V.encode("#A1"), _V.eos_id]
  assert _judge([row], [(0, 1, 0, 0)]) == ["correct"]
  early = [_V.id("B"), _V.eos_id, *_V.encode("#B"), _V.eos_id]
  assert _judge([early], [(0, 1, 0, 0)]) == ["unparsed"]


def test_twenty_thousand_random_completions_agree_with_the_twin():
  rng = np.random.default_rng(0)
  problems = boolean_expressions.problems(0, 4, 2, 2000, 1, 1)["train"]
  symbols = np.array([*_V.encode("##ABCDEFAT1>"), _V.eos_id, _V.pad_id])
  rows, options = [], []
  for _ in range(20_000):
    problem = problems[rng.integers(len(problems))]
    ids = _V.encode(problem.demonstration)
    row = twins.damaged(rng, ids, symbols, _V, _LENGTH, noise=0.15, most=2)
    if rng.random() < 0.1:
      row[row == _V.eos_id] = rng.choice(symbols)
    rows.append(row)
    options.append(problem.true_options)
  expected = [
    rewards.option_outcome_of_text(twins.text_of(row, _V), found)
    for row, found in zip(rows, options, strict=True)
  ]
  twins.assert_agree(_judge(np.stack(rows), options), expected)


def test_any_tokens_at_all_agree_with_the_twin():
  rng = np.random.default_rng(1)
  rows = rng.integers(0, len(_V.symbols), (2000, _LENGTH))
  options = rng.integers(0, 2, (2000, 6))
  for row, found, ours in zip(
    rows, options, _judge(rows, options), strict=True
  ):
    text = twins.text_of(row, _V)
    assert ours == rewards.option_outcome_of_text(text, tuple(found))
