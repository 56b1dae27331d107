"""The generator of corrupted Dyck words: answers, splits and shares."""

import collections
import itertools

import jax.numpy as jnp
import pytest

from rlvr_jax import rewards
from rlvr_jax.data import dyck_errors
from rlvr_jax.data import vocabulary
from tests.data import generators

_V = vocabulary.ARITHMETIC
_RENAMED = str.maketrans("(){}", "{}()")


def _problems(seed=0, rows=600, length=12):
  return dyck_errors.problems(seed, length, rows, 40, 40)


def _all_words(most):
  """Every valid word of at most so many brackets."""
  words = {""}
  while True:
    longer = {
      word
      for a, b in itertools.product(words, repeat=2)
      for word in (a + b, f"({a})", f"{{{a}}}")
      if len(word) <= most
    }
    if longer <= words:
      return words
    words |= longer


def test_the_docstring_examples_are_true():
  assert dyck_errors.problem("{)()") == ("{)()>", "(}{}", 2)
  assert dyck_errors.first_error("(}()") == 2
  assert dyck_errors.problem("(()(").demonstration == "#5"


@pytest.mark.parametrize(
  "word, answer",
  [
    ("", 0),
    ("({})", 0),
    (")(", 1),
    ("(}", 2),
    ("(", 2),
    ("({)}", 3),
    ("(){}}{", 5),
    ("(({})", 6),
  ],
)
def test_places_by_hand(word, answer):
  assert dyck_errors.first_error(word) == answer


def test_the_answer_is_where_no_word_goes_on():
  valid = _all_words(10)
  beginnings = {word[:i] for word in valid for i in range(len(word) + 1)}
  for letters in itertools.product("(){}", repeat=5):
    for word in {"".join(letters), "".join(letters[:4])}:
      answer = dyck_errors.first_error(word)
      if word in valid:
        assert answer == 0
      elif answer == len(word) + 1:
        assert word in beginnings
      else:
        assert word[: answer - 1] in beginnings
        assert word[:answer] not in beginnings


def test_one_word_in_five_is_valid_and_all_have_the_length():
  train = _problems(rows=10_000)["train"]
  assert {len(problem.prompt) for problem in train} == {13}
  counts = collections.Counter(problem.answer for problem in train)
  # Five standard errors.
  assert abs(counts[0] - 2000) < 200
  # Every place goes wrong somewhere.
  assert set(counts) == set(range(14))


def test_renaming_the_kinds_keeps_class_and_answer():
  for problem in _problems()["train"]:
    word = problem.prompt.removesuffix(">")
    renamed = dyck_errors.problem(word.translate(_RENAMED))
    assert renamed.problem_class == problem.problem_class
    assert renamed.answer == problem.answer
    assert problem.problem_class in (word, word.translate(_RENAMED))


def test_no_class_is_in_two_splits():
  generators.assert_splits_are_disjoint(_problems)


def test_rows_are_a_function_of_the_seed_and_more_change_none():
  generators.assert_rows_are_a_function_of_the_seed(_problems)


def test_demonstrations_are_judged_correct_on_device_and_in_python():
  problems = _problems()
  for problem in itertools.chain(*problems.values()):
    assert len(_V.encode(problem.prompt)) == len(problem.prompt)
  generators.assert_demonstrations_are_correct(
    problems,
    _V,
    5,
    lambda p: rewards.chain_outcome_of_text(p.demonstration, p.answer),
    lambda rows, problems: rewards.chain_outcomes(
      completion_tokens=rows,
      answer=jnp.asarray([p.answer for p in problems], jnp.int32),
    ),
  )
