"""On any tokens at all, a verifier on device says what its twin says.

The twin reads the text in plain Python, so that a completion counts as correct
only where that is the plain reading of it.
"""

import itertools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import records
from rlvr_jax import rewards
from rlvr_jax.data import math_path
from rlvr_jax.data import vocabulary
from rlvr_jax.verifiers import hostile
from tests import testing
from tests.rewards import twins
from tests.verifiers import drawn

_LENGTH = 48
_TEMPLATE = "?+3*?=9"
_GOLDS = ("40817", r"\frac{341}{729}", "25.75")


class _Verifier(NamedTuple):
  """A verifier on device, its twin, and one problem.

  Attributes:
    device: takes completion_tokens and the answers.
    twin: takes a text, or None, and the answers of its own.
    vocabulary: of the tokens.
    answers: of the problem, as the verifier on device has them.
    twin_answers: as the twin has them.
    right: a correct completion.
  """

  device: Any
  twin: Any
  vocabulary: vocabulary.Vocabulary
  answers: dict[str, Any]
  twin_answers: tuple
  right: str


def _template_ids():
  ids = vocabulary.LOGIC.encode(_TEMPLATE)
  return (*ids, *[math_path.NO_SYMBOL] * (16 - len(ids)))


_VERIFIERS = {
  "countdown": _Verifier(
    rewards.countdown_outcomes,
    rewards.countdown_outcome_of_text,
    vocabulary.ARITHMETIC,
    {"numbers": (6, 1, 5), "target": 10},
    ((6, 1, 5), 10),
    "6-1=5,5+5=10",
  ),
  "chain": _Verifier(
    rewards.chain_outcomes,
    rewards.chain_outcome_of_text,
    vocabulary.ARITHMETIC,
    {"answer": 9},
    (9,),
    "1+5=6#9",
  ),
  "dyck": _Verifier(
    rewards.dyck_outcomes,
    rewards.dyck_outcome_of_text,
    vocabulary.ARITHMETIC,
    {"closing": (1, 0, -1, -1)},
    ((1, 0, -1, -1),),
    "})",
  ),
  "options": _Verifier(
    rewards.option_outcomes,
    rewards.option_outcome_of_text,
    vocabulary.LOGIC,
    {"true_options": (1, 0, 1, 0)},
    ((1, 0, 1, 0),),
    "T&F#AC",
  ),
  "equation": _Verifier(
    rewards.equation_outcomes,
    rewards.equation_outcome_of_text,
    vocabulary.LOGIC,
    {"template": _template_ids(), "target": 9},
    (_TEMPLATE, 9),
    "#6+3*1=9",
  ),
}


def _outcomes(verifier, rows):
  rows = jnp.asarray(rows, jnp.int32)
  answers = {
    name: jnp.broadcast_to(
      jnp.asarray(answer, jnp.int32), (len(rows), *np.shape(answer))
    )
    for name, answer in verifier.answers.items()
  }
  device = jax.jit(
    lambda tokens, answers: verifier.device(completion_tokens=tokens, **answers)
  )
  return np.asarray(device(rows, answers))


def _twin(verifier, row):
  """Of a row of any integers; those that are no token are no symbol."""
  symbols = verifier.vocabulary.symbols
  row = row.tolist()
  end = verifier.vocabulary.eos_id
  if end not in row:
    return verifier.twin(None, *verifier.twin_answers)
  text = "".join(
    symbols[token] if 0 <= token < len(symbols) else "\x00"
    for token in row[: row.index(end)]
  )
  return verifier.twin(text, *verifier.twin_answers)


def _assert_as_twins_say(verifier, rows):
  """And whatever the other rows are."""
  rows = np.asarray(rows)
  found = _outcomes(verifier, rows)
  expected = [_twin(verifier, row) for row in rows]
  for row, ours, theirs in zip(rows, twins.names(found), expected, strict=True):
    assert ours == theirs, verifier.vocabulary.text(np.clip(row, 0, 20))
  order = np.random.default_rng(0).permutation(len(rows))
  np.testing.assert_array_equal(_outcomes(verifier, rows[order]), found[order])
  return expected


def _row(verifier, text, *, ends=True):
  """A text as far as the vocabulary has it, cut to the length."""
  symbols = verifier.vocabulary.symbols
  longest_first = sorted(symbols[2:], key=len, reverse=True)
  known = re.findall("|".join(map(re.escape, longest_first)), text)
  ids = [symbols.index(symbol) for symbol in known[: _LENGTH - 1]]
  last = verifier.vocabulary.eos_id if ends else symbols.index("1")
  return np.array([*ids, *[last] * (_LENGTH - len(ids))])


@pytest.mark.parametrize("name", _VERIFIERS)
def test_rows_of_one_token_and_of_special_tokens(name):
  verifier = _VERIFIERS[name]
  pad, end = verifier.vocabulary.pad_id, verifier.vocabulary.eos_id
  rows = [
    np.full(_LENGTH, token) for token in range(verifier.vocabulary.vocab_size)
  ]
  rows += [np.resize((pad, end), _LENGTH), np.resize((end, pad), _LENGTH)]
  solution = verifier.vocabulary.encode(verifier.right)
  for before, after in itertools.product(((), (pad,), (end,)), repeat=2):
    row = [*before, *solution, *after, end]
    rows.append(np.array(row + [pad] * (_LENGTH - len(row))))
  # The longest, without and with an end in its last place.
  rows.append(np.resize(solution, _LENGTH))
  rows.append(np.array([*np.resize(solution, _LENGTH - 1), end]))
  outcomes = _assert_as_twins_say(verifier, rows)
  assert outcomes.count("correct") >= 1
  ends = [end in row for row in rows]
  assert [x != "truncated" for x in outcomes] == ends


@pytest.mark.parametrize("name", _VERIFIERS)
def test_any_integers_at_all(name):
  verifier = _VERIFIERS[name]
  size, rng = verifier.vocabulary.vocab_size, np.random.default_rng(0)
  tokens = rng.integers(0, size, (2_000, _LENGTH))
  # An end early on, so that something is read before it.
  short = rng.integers(2, size, (2_000, _LENGTH))
  short[np.arange(2_000), rng.integers(0, 8, 2_000)] = (
    verifier.vocabulary.eos_id
  )
  _assert_as_twins_say(verifier, np.concatenate([tokens, short]))
  # A model may have more tokens than the vocabulary has symbols.
  wild = np.where(
    rng.random(short.shape) < 0.2,
    rng.choice([-1, -(2**31), 2**31 - 1, size, size + 7, 99_999], short.shape),
    short,
  )
  outcomes = _assert_as_twins_say(verifier, wild)
  assert set(outcomes) <= set(records.OUTCOMES)


def _texts(number):
  cases = hostile.generated(0, number, _GOLDS)
  return [case.response for case in (*hostile.cases(_GOLDS[0]), *cases)]


def _assert_texts_are_judged(verifier, texts):
  rows = []
  for number, text in enumerate(texts):
    rows.append(_row(verifier, text, ends=number % 8 > 0))
    # The right answer, which a hostile text stands before or behind.
    short = text[:300]
    rows.append(_row(verifier, short[:20] + verifier.right))
    rows.append(_row(verifier, verifier.right + short))
  outcomes = _assert_as_twins_say(verifier, rows)
  assert {"correct", "unparsed", "truncated"} <= set(outcomes)


@pytest.mark.parametrize("name", _VERIFIERS)
def test_hostile_texts_as_far_as_there_are_tokens(name):
  _assert_texts_are_judged(_VERIFIERS[name], _texts(300))


@pytest.mark.slow
@pytest.mark.parametrize("name", _VERIFIERS)
def test_ten_thousand_hostile_texts(name):
  found = drawn.texts(2_000)
  texts = found + _texts(10_000 - len(found))
  assert len(texts) > 10_000
  _assert_texts_are_judged(_VERIFIERS[name], texts)


def test_a_mask_without_a_token_leaves_no_reward():
  verifier = _VERIFIERS["chain"]
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  batch = batch.replace(
    completion_tokens=jnp.zeros_like(batch.completion_tokens),
    completion_mask=jnp.zeros_like(batch.completion_mask),
    prompts=batch.prompts.replace(answers={"answer": jnp.array([0, 9])}),
  )
  judged = rewards.judge(batch, verifier.device)
  assert twins.names(judged.outcomes) == ["truncated"] * 4
  np.testing.assert_array_equal(judged.rewards, np.zeros(4))


def test_closeness_of_any_number_is_within_its_range():
  odd = [0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 1.0, np.inf, -np.inf, np.nan]
  pairs = list(itertools.product(odd, odd[:-3]))
  predicted, answer = map(np.float32, zip(*pairs, strict=True))
  found = np.asarray(
    rewards.closeness(
      predicted=jnp.asarray(predicted), answer=jnp.asarray(answer)
    )
  )
  assert np.all((found >= 0) & (found <= 1))
  same = (predicted == answer) & np.isfinite(predicted)
  np.testing.assert_array_equal(found[same], 1.0)
  np.testing.assert_array_equal(found[~np.isfinite(predicted)], 0.0)
