"""The verifier of sets of options says what its Python twin says."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import records
from rlvr_jax.data import boolean_expressions
from rlvr_jax.data import vocabulary
from rlvr_jax.rewards import boolean_expressions as rewards

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
  """Tokens of a completion; "<pad>" inside stands for the pad token."""
  if text is None:
    return [_V.id("#"), *[_V.id("A")] * (length - 1)]
  ids = []
  for number, part in enumerate(text.split("<pad>")):
    ids += [_V.pad_id] * (number > 0) + list(_V.encode(part))
  ids.append(_V.eos_id)
  return ids + [_V.pad_id] * (length - len(ids))


def _judge(rows, true_options):
  outcomes = _device(
    jnp.asarray(rows, jnp.int32), jnp.asarray(true_options, jnp.int32)
  )
  return [records.OUTCOMES[outcome] for outcome in np.asarray(outcomes)]


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
    row = np.full(_LENGTH, _V.eos_id)
    if rng.random() < 0.15:
      row[:] = rng.choice(symbols, _LENGTH)
    else:
      ids = _V.encode(problem.demonstration)
      row[: len(ids)] = ids
      for _ in range(rng.integers(0, 3)):
        row[rng.integers(0, len(ids) + 1)] = rng.choice(symbols)
      if rng.random() < 0.1:
        row[row == _V.eos_id] = rng.choice(symbols)
    rows.append(row)
    options.append(problem.true_options)
  counts = dict.fromkeys(records.OUTCOMES, 0)
  for row, found, ours in zip(
    rows, options, _judge(np.stack(rows), options), strict=True
  ):
    text = _V.decode(row) if _V.eos_id in row else None
    assert ours == rewards.option_outcome_of_text(text, found)
    counts[ours] += 1
  # The test is worth something only if every outcome occurs often.
  for outcome in ("correct", "wrong", "unparsed", "truncated"):
    assert counts[outcome] > 200, counts


def test_any_tokens_at_all_agree_with_the_twin():
  rng = np.random.default_rng(1)
  rows = rng.integers(0, len(_V.symbols), (2000, _LENGTH))
  options = rng.integers(0, 2, (2000, 6))
  for row, found, ours in zip(
    rows, options, _judge(rows, options), strict=True
  ):
    text = _V.decode(row) if _V.eos_id in row else None
    assert ours == rewards.option_outcome_of_text(text, tuple(found))
