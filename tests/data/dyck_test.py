"""The Dyck generator: one right answer, split by class, pure in the seed."""

import collections
import itertools

from rlvr_jax.data import dyck
from rlvr_jax.data import vocabulary
from rlvr_jax.rewards import dyck as dyck_rewards
from tests.data import generators

_RENAMED = str.maketrans("(){}", "{}()")


def _problems(seed=0, rows=600, length=12, most_missing=5):
  return dyck.problems(seed, length, most_missing, rows, 40, 40)


def _is_balanced(word):
  """By taking out what closes at once."""
  while (shorter := word.replace("()", "").replace("{}", "")) != word:
    word = shorter
  return not word


def test_the_docstring_example_is_true():
  assert dyck.problem("({()") == ("({()>", "({()", "})", (1, 0))


def test_every_answer_completes_its_word_to_the_length():
  for problem in itertools.chain(*_problems().values()):
    word = problem.prompt.removesuffix(">") + problem.answer
    assert len(word) == 12
    assert _is_balanced(word)
    assert 1 <= len(problem.answer) <= 5
    judged = dyck_rewards.dyck_outcome_of_text(problem.answer, problem.closing)
    assert judged == "correct"


def test_no_other_answer_of_its_length_balances():
  for problem in _problems()["test"]:
    word = problem.prompt.removesuffix(">")
    found = [
      answer
      for answer in itertools.product("(){}", repeat=len(problem.answer))
      if _is_balanced(word + "".join(answer))
    ]
    assert found == [tuple(problem.answer)]


def test_renaming_the_kinds_keeps_the_class():
  for problem in _problems()["train"]:
    word = problem.prompt.removesuffix(">")
    renamed = dyck.problem(word.translate(_RENAMED))
    assert renamed.problem_class == problem.problem_class
    assert renamed.closing == tuple(1 - kind for kind in problem.closing)
    assert problem.problem_class in (word, word.translate(_RENAMED))
    assert problem.problem_class[0] == "("


def test_no_class_is_in_two_splits():
  generators.assert_splits_are_disjoint(_problems)


def test_held_out_prompts_are_distinct():
  problems = _problems()
  assert len(problems["validation"]) == len(problems["test"]) == 40
  generators.assert_held_out_prompts_are_distinct(problems)


def test_rows_are_a_function_of_the_seed_and_more_change_none():
  generators.assert_rows_are_a_function_of_the_seed(_problems)


def test_words_are_drawn_uniformly_once_the_number_missing_is():
  train = dyck.problems(0, 8, 4, 40_000, 1, 1)["train"]
  by_missing = collections.defaultdict(collections.Counter)
  for problem in train:
    by_missing[len(problem.closing)][problem.prompt] += 1
  # Beginnings of 7, 6, 5 and 4 brackets, of which 4 open, each of two kinds;
  # about a fifth of the classes is held out.
  assert sorted(by_missing) == [1, 2, 3, 4]
  for missing, ways in ((1, 14), (2, 9), (3, 4), (4, 1)):
    counts = by_missing[missing]
    assert 0.6 * ways * 16 < len(counts) <= ways * 16
    mean = counts.total() / len(counts)
    # Five standard errors.
    for count in counts.values():
      assert abs(count - mean) < 5 * mean**0.5


def test_its_texts_are_written_in_the_vocabulary():
  for problem in _problems()["test"]:
    text = problem.prompt + problem.answer
    assert len(vocabulary.ARITHMETIC.encode(text)) == len(text)
