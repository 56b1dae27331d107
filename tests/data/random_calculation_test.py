"""RandomCalculation: exact values of what is written, chains that hold."""

import itertools

import pytest

from rlvr_jax import rewards
from rlvr_jax.data import random_calculation
from tests.reference import expressions


def _level(level, seed=0):
  return random_calculation.expressions(seed, level)


def test_there_are_1088_leaves():
  assert len(random_calculation.leaves()) == 1088


@pytest.mark.parametrize("level", [0, 1, 2, 3, 7])
def test_values_are_those_of_the_text(level):
  for expression in _level(level)[:300]:
    assert expression.value == expressions.value(expression.text)
    assert expression.op_count == level


def test_values_of_the_dossier():
  by_text = {e.text: e for e in random_calculation.leaves()}
  combine = random_calculation.combine
  quotient = combine(by_text["81^2"], "/", by_text[r"\frac{89}{7}"])
  assert quotient.text == r"81^2/\frac{89}{7}"
  # The mirror prints ...168: it divides in floats; 45927 / 89 ends in ...1685.
  assert quotient.answer() == "516.033707865169"
  assert abs(float(quotient.value) - 516.033707865168) < 1e-12
  difference = combine(by_text[r"\frac{78}{3}"], "-", by_text["55"])
  total = combine(difference, "+", by_text[r"\frac{31}{8}"])
  assert total.text == r"\frac{78}{3}-55+\frac{31}{8}"
  assert total.answer() == "-25.125"


def test_a_subtracted_sum_is_written_without_parentheses():
  one, two, three = (
    next(e for e in random_calculation.leaves() if e.text == text)
    for text in "123"
  )
  total = random_calculation.combine(two, "+", three)
  difference = random_calculation.combine(one, "-", total)
  # 1-2+3 reads as 2, although the tree says 1 - (2 + 3).
  assert (difference.text, difference.value) == ("1-2+3", 2)


def test_division_by_zero_is_rejected():
  zero, one = (
    next(e for e in random_calculation.leaves() if e.text == text)
    for text in "01"
  )
  assert random_calculation.combine(one, "/", zero) is None


def test_expressions_are_distinct_and_pure_in_the_seed():
  texts = [e.text for e in _level(2)]
  assert len(set(texts)) == len(texts) == 1000
  assert texts == [e.text for e in _level(2)]
  assert texts != [e.text for e in _level(2, seed=1)]


def _chains():
  return random_calculation.chains(0, 300, 50, 50)


def test_chain_steps_hold_and_end_in_the_answer():
  for chain in itertools.chain(*_chains().values()):
    worked, _, answer = chain.demonstrations[0].partition("#")
    total = int(chain.prompt[0])
    for step in worked.split(","):
      left, _, right = step.partition("=")
      assert int(left.replace("-", "+-").split("+")[0]) == total
      total = eval(left)  # digits and signs of our own making
      assert total == int(right)
      assert 0 <= total <= 19
    assert total == int(answer) == chain.answer
    moves = "".join(
      step.partition("=")[0].lstrip("0123456789") for step in worked.split(",")
    )
    assert chain.prompt == chain.prompt[0] + moves + "="


def test_two_demonstrations_in_five_are_rejected():
  for chain in _chains()["train"][:20]:
    outcomes = [
      rewards.chain_outcome_of_text(text, chain.answer)
      for text in chain.demonstrations
    ]
    assert outcomes == ["correct"] * 3 + ["unparsed"] * 2


def test_no_chain_is_in_two_splits():
  prompts = [c.prompt for split in _chains().values() for c in split]
  assert len(set(prompts)) == len(prompts) == 400
