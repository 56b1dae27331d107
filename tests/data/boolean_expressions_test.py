"""The generator of Boolean expressions: values, shares, splits by class."""

import collections
import itertools
import random
import re

import jax.numpy as jnp
import pytest

from rlvr_jax import rewards
from rlvr_jax.data import boolean_expressions
from rlvr_jax.data import vocabulary
from tests.data import generators

_V = vocabulary.LOGIC
_PYTHON = {
  "!": " not ",
  "&": " and ",
  "|": " or ",
  "=": "==",
  "T": "True",
  "F": "False",
}


def _problems(seed=0, rows=400, num_options=4, depth=2):
  return boolean_expressions.problems(seed, num_options, depth, rows, 40, 40)


def _python_value(text):
  """By Python's own precedence."""
  return eval("".join(_PYTHON.get(symbol, symbol) for symbol in text))


def _options(problem):
  """Texts by letter."""
  parts = problem.prompt.removesuffix(">").split(";")
  return dict(part.split(":") for part in parts)


def _expressions(depth, number=20_000):
  rng = random.Random(0)
  return [boolean_expressions.expression(rng, depth) for _ in range(number)]


def test_the_docstring_examples_are_true():
  assert boolean_expressions.letters((1, 0, 1)) == "AC"
  assert boolean_expressions.value("2-3*4") == -10
  values = map(_python_value, ("!(3<2)", "T&F", "(1+2=3)|F"))
  assert list(values) == [True, False, True]


@pytest.mark.parametrize(
  "text, value",
  [("7", 7), ("1-2-3", -4), ("2*3-4*5", -14), ("1-2*3+4", -1), ("0*9*9", 0)],
)
def test_arithmetic_by_hand(text, value):
  assert boolean_expressions.value(text) == value


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
def test_values_are_those_of_python(depth):
  for text, is_true in _expressions(depth, 2000):
    assert _python_value(text) == is_true, text


def test_the_recursion_has_the_shares_of_the_recipe():
  texts = [found.text for found in _expressions(0)]
  # A leaf is a comparison 4 times in 7; five standard errors.
  comparisons = sum(len(text) > 1 for text in texts)
  assert abs(comparisons / 20_000 - 4 / 7) < 0.018
  # Of depth 1, with no parentheses inside parentheses, all shares are seen.
  counts = collections.Counter()
  for text, _ in _expressions(1):
    outside = re.sub(r"\([^()]*\)", "T", text)
    kinds = [kind for kind in "!&|" if kind in outside]
    counts[kinds[0] if kinds else "leaf"] += 1
  for kind, share in (("leaf", 0.3), ("!", 0.245), ("&", 0.245), ("|", 0.21)):
    assert abs(counts[kind] / 20_000 - share) < 0.017, counts
  # A third operand only where the depth is above 2.
  joined = [re.sub(r"\([^()]*\)", "T", t) for t, _ in _expressions(1)]
  assert max(text.count("&") for text in joined) == 1


def test_a_third_operand_comes_only_from_depth_three_on():
  def operands(text):
    # Whatever is nested away, the outermost first.
    while (shorter := re.sub(r"\([^()]*\)", "T", text)) != text:
      text = shorter
    return max(text.count("&"), text.count("|")) + 1

  assert {operands(text) for text, _ in _expressions(2, 3000)} == {1, 2}
  deep = [operands(text) for text, _ in _expressions(3, 6000)]
  counts = collections.Counter(deep)
  assert abs(counts[3] / (counts[2] + counts[3]) - 0.4) < 0.04
  assert set(counts) == {1, 2, 3}


def test_answers_are_the_values_and_one_option_is_true():
  for problem in itertools.chain(*_problems(num_options=6, depth=3).values()):
    options = _options(problem)
    assert list(options) == list("ABCDEF")
    assert len(set(options.values())) == 6
    values = [_python_value(text) for text in options.values()]
    assert tuple(values) == problem.true_options
    assert any(values)
    assert len(problem.prompt) <= boolean_expressions.MAX_CHARACTERS
    assert sorted(options.values()) == problem.problem_class.split(";")
    # One token for each character.
    assert len(_V.encode(problem.prompt)) == len(problem.prompt)


def test_no_class_is_in_two_splits():
  generators.assert_splits_are_disjoint(_problems)


def test_rows_are_a_function_of_the_seed_and_more_change_none():
  generators.assert_rows_are_a_function_of_the_seed(_problems)


def test_demonstrations_are_judged_correct_on_device_and_in_python():
  generators.assert_demonstrations_are_correct(
    _problems(),
    _V,
    8,
    lambda p: rewards.option_outcome_of_text(p.demonstration, p.true_options),
    lambda rows, problems: rewards.option_outcomes(
      completion_tokens=rows,
      true_options=jnp.asarray([p.true_options for p in problems], jnp.int32),
    ),
  )
