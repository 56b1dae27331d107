"""The Dyck verifier on token ids says what its Python twin says."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.data import dyck
from rlvr_jax.data import vocabulary
from rlvr_jax.rewards import dyck as rewards
from tests.rewards import twins

_V = vocabulary.ARITHMETIC
_LENGTH, _WIDTH = 8, 5

# Text, kinds of the brackets that close the word, and outcome; None has no
# end token.
_HOSTILE = [
  ("})", (1, 0), "correct"),
  (")}", (1, 0), "wrong"),
  ("}", (1, 0), "wrong"),
  ("})}", (1, 0), "wrong"),
  # It balances, but it is not the shortest.
  ("(){})", (0,), "wrong"),
  ("({", (0, 1), "wrong"),
  (")", (0,), "correct"),
  ("}", (0,), "wrong"),
  ("", (0,), "unparsed"),
  ("", (), "unparsed"),
  (") ", (0,), "unparsed"),
  (" )", (0,), "unparsed"),
  (")>", (0,), "unparsed"),
  (")1", (0,), "unparsed"),
  (")<pad>", (0,), "unparsed"),
  ("<pad>)", (0,), "unparsed"),
  (")<pad>)", (0, 0), "unparsed"),
  ("}}}}}", (1, 1, 1, 1, 1), "correct"),
  ("}}}})", (1, 1, 1, 1, 1), "wrong"),
  ("}}}}}}", (1, 1, 1, 1, 1), "wrong"),
  (None, (0,), "truncated"),
]


@jax.jit
def _device(tokens, closing):
  return rewards.dyck_outcomes(completion_tokens=tokens, closing=closing)


def _encode(text, length=_LENGTH):
  return twins.encoded(text, _V, length, ")")


def _padded(closing, width=_WIDTH):
  return closing + (dyck.NO_BRACKET,) * (width - len(closing))


def _judge(rows, closing):
  outcomes = _device(
    jnp.asarray(rows, jnp.int32), jnp.asarray(closing, jnp.int32)
  )
  return twins.names(outcomes)


def test_hostile_completions_are_judged_as_written_here():
  device = _judge(
    [_encode(text) for text, _, _ in _HOSTILE],
    [_padded(closing) for _, closing, _ in _HOSTILE],
  )
  for (text, closing, expected), ours in zip(_HOSTILE, device, strict=True):
    twin = rewards.dyck_outcome_of_text(text, _padded(closing))
    assert (text, ours, twin) == (text, expected, expected)


def test_what_stands_behind_the_end_does_not_count():
  row = [_V.id("}"), _V.eos_id, *_V.encode("1)}"), _V.eos_id, _V.pad_id, 5]
  assert _judge([row], [_padded((1,))]) == ["correct"]


def test_an_answer_longer_than_the_completion_is_never_right():
  short = [_encode("}}", 3), [_V.id("}")] * 3]
  closing = [_padded((1,) * 5)] * 2
  assert _judge(short, closing) == ["wrong", "truncated"]
  assert _judge([_encode("}}", 3)], [(1, 1)]) == ["correct"]


def test_twenty_thousand_random_completions_agree_with_the_twin():
  rng = np.random.default_rng(0)
  problems = dyck.problems(0, 12, _WIDTH, 2000, 1, 1)["train"]
  symbols = np.array([*_V.encode("(){}(){}>1"), _V.eos_id, _V.pad_id])
  drawn = [problems[i] for i in rng.integers(len(problems), size=20_000)]
  rows = [
    twins.damaged(
      rng, _V.encode(p.answer), symbols, _V, _LENGTH, noise=0.15, most=2
    )
    for p in drawn
  ]
  closing = [_padded(p.closing) for p in drawn]
  expected = [
    rewards.dyck_outcome_of_text(twins.text_of(row, _V), kinds)
    for row, kinds in zip(rows, closing, strict=True)
  ]
  twins.assert_agree(_judge(np.stack(rows), closing), expected)
