"""The generator of equations with hidden digits: values and splits."""

import ast
import itertools
import operator

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import rewards
from rlvr_jax.data import math_path
from rlvr_jax.data import vocabulary
from tests.data import generators

_V = vocabulary.LOGIC
_OPERATORS = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.floordiv,
  ast.Mod: operator.mod,
}


def _problems(seed=0, rows=400, num_digits=5, hidden_percent=50):
  return math_path.problems(seed, num_digits, hidden_percent, rows, 40, 40)


def _tree_value(node):
  """By Python's own precedence; None if a division is not exact."""
  if isinstance(node, ast.Constant):
    return node.value
  left, right = _tree_value(node.left), _tree_value(node.right)
  if left is None or right is None:
    return None
  if isinstance(node.op, (ast.Div, ast.Mod)) and right == 0:
    return None
  if isinstance(node.op, ast.Div) and left % right:
    return None
  return _OPERATORS[type(node.op)](left, right)


def _python_value(text):
  return _tree_value(ast.parse(text, mode="eval").body)


def _summands(template):
  """Of the left side, each with its sign, and the right side."""
  left, right = template.split("=")
  return ("+" + left).replace("-", "+-").split("+")[1:], right


def test_the_docstring_examples_are_true():
  equation, hidden = "3+3*2=9", (True, False, True)
  assert math_path.problem(equation, hidden) == (
    "?+3*?=9>",
    "+3*?+?=9",
    "?+3*?=9",
    9,
    "#3+3*2=9",
  )
  assert math_path.value("8-7*4/2") == -6
  assert math_path.value("8-7/2") is None


@pytest.mark.parametrize(
  "text, value",
  [
    ("7", 7),
    ("9-8-7", -6),
    ("8/4/2", 1),
    ("8/4*2", 4),
    ("2*9%4", 2),
    ("9%4*2", 2),
    ("1+7%4*2-5", 2),
    ("0/5", 0),
    ("0%5", 0),
    ("5/0", None),
    ("5%0", None),
    ("0*5/0", None),
    ("1/2*2", None),
    ("2*1/2", 1),
    ("1+3/2+3/2", None),
  ],
)
def test_values_by_hand(text, value):
  assert math_path.value(text) == value


def test_every_short_expression_has_the_value_of_python():
  digits = "01249"
  for a, b, c in itertools.product(digits, repeat=3):
    for p, q in itertools.product(math_path.OPERATORS, repeat=2):
      text = a + p + b + q + c
      assert math_path.value(text) == _python_value(text), text


@pytest.mark.parametrize(
  "num_digits, hidden_percent", [(2, 50), (5, 50), (5, 100), (9, 70)]
)
def test_demonstrations_fill_their_prompts_and_hold(num_digits, hidden_percent):
  problems = _problems(0, 400, num_digits, hidden_percent)
  hidden = 0
  for problem in itertools.chain(*problems.values()):
    equation = problem.demonstration.removeprefix("#")
    left, right = equation.split("=")
    assert len(left) == 2 * num_digits - 1
    assert _python_value(left) == int(right) == problem.target
    assert problem.prompt == problem.template + ">"
    assert len(problem.template) == len(equation)
    assert len(equation) <= math_path.width(num_digits)
    here = [
      place
      for place, (shown, full) in enumerate(
        zip(problem.template, equation, strict=True)
      )
      if shown != full
    ]
    assert here
    assert all(problem.template[place] == "?" for place in here)
    assert all(place % 2 == 0 and place < len(left) for place in here)
    hidden += len(here)
    assert len(_V.encode(problem.prompt)) == len(problem.prompt)
  share = hidden / (num_digits * sum(map(len, problems.values())))
  if num_digits > 2:
    # Five standard errors, and what at least one hidden digit adds.
    assert abs(share - hidden_percent / 100) < 0.08


def test_other_orders_of_summands_and_factors_are_one_class():
  def problem_class(equation, *hidden):
    return math_path.problem(equation, hidden).problem_class

  one = problem_class("1+2*3-4/2=5", False, True, False, True, False)
  for equation, hidden in (
    ("1-4/2+3*2=5", (False, True, False, False, True)),
    ("2*3+1-4/2=5", (True, False, False, True, False)),
    ("9*3+1-8/2=5", (True, False, False, True, False)),
  ):
    assert problem_class(equation, *hidden) == one
  # A quotient reads only one way, and so does a difference.
  assert problem_class("8/4=2", True, False) != problem_class(
    "4/8=2", False, True
  )
  assert problem_class("3-2=1", True, False) != problem_class(
    "2-3=1", False, True
  )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_class_is_in_two_splits(seed):
  problems = _problems(seed, hidden_percent=100)
  generators.assert_disjoint(problems, lambda p: p.problem_class)

  # Nor is a problem with its summands in another order.
  def in_any_order(problem):
    summands, right = _summands(problem.template)
    return tuple(sorted(summands)), right

  generators.assert_disjoint(problems, in_any_order)


def test_rows_are_a_function_of_the_seed_and_more_change_none():
  generators.assert_rows_are_a_function_of_the_seed(_problems)


def _on_device(rows, problems):
  width = math_path.width(9)
  templates = np.full((len(problems), width), math_path.NO_SYMBOL)
  for template, problem in zip(templates, problems, strict=True):
    ids = _V.encode(problem.template)
    template[: len(ids)] = ids
  return rewards.equation_outcomes(
    completion_tokens=rows,
    template=jnp.asarray(templates, jnp.int32),
    target=jnp.asarray([p.target for p in problems], jnp.int32),
  )


def test_demonstrations_are_judged_correct_on_device_and_in_python():
  generators.assert_demonstrations_are_correct(
    _problems(num_digits=9),
    _V,
    math_path.width(9) + 2,
    lambda p: rewards.equation_outcome_of_text(
      p.demonstration, p.template, p.target
    ),
    _on_device,
  )
