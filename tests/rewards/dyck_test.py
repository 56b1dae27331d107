"""The Dyck verifier on token ids says what its Python twin says."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import records
from rlvr_jax.data import dyck
from rlvr_jax.data import vocabulary
from rlvr_jax.rewards import dyck as rewards

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
  """Tokens of a completion; "<pad>" inside stands for the pad token."""
  if text is None:
    return [_V.id(")")] * length
  ids = []
  for number, part in enumerate(text.split("<pad>")):
    ids += [_V.pad_id] * (number > 0) + list(_V.encode(part))
  ids.append(_V.eos_id)
  return ids + [_V.pad_id] * (length - len(ids))


def _padded(closing, width=_WIDTH):
  return closing + (dyck.NO_BRACKET,) * (width - len(closing))


def _judge(rows, closing):
  outcomes = _device(
    jnp.asarray(rows, jnp.int32), jnp.asarray(closing, jnp.int32)
  )
  return [records.OUTCOMES[outcome] for outcome in np.asarray(outcomes)]


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
  rows, closing = [], []
  for _ in range(20_000):
    problem = problems[rng.integers(len(problems))]
    row = np.full(_LENGTH, _V.eos_id)
    if rng.random() < 0.15:
      row[:] = rng.choice(symbols, _LENGTH)
    else:
      ids = _V.encode(problem.answer)
      row[: len(ids)] = ids
      for _ in range(rng.integers(0, 3)):
        row[rng.integers(0, len(ids) + 1)] = rng.choice(symbols)
    rows.append(row)
    closing.append(_padded(problem.closing))
  counts = dict.fromkeys(records.OUTCOMES, 0)
  for row, kinds, ours in zip(
    rows, closing, _judge(np.stack(rows), closing), strict=True
  ):
    text = _V.decode(row) if _V.eos_id in row else None
    assert ours == rewards.dyck_outcome_of_text(text, kinds)
    counts[ours] += 1
  # The test is worth something only if every outcome occurs often.
  for outcome in ("correct", "wrong", "unparsed", "truncated"):
    assert counts[outcome] > 200, counts
