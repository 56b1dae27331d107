"""The Countdown generator: true solutions, split by class, pure in the seed."""

import collections
import functools
import hashlib
import itertools
import random

import pytest

from rlvr_jax import rewards
from rlvr_jax.data import countdown
from tests.data import generators

_THREE = {3: 1}
_MIXED = {2: 2, 3: 1, 4: 1, 5: 1, 6: 3}


def _problems(seed=0, rows=600, weights=_THREE):
  return countdown.problems(seed, weights, rows, 40, 40)


def test_known_solutions():
  assert countdown.solutions((1, 2)) == {
    1: ("2-1=1",),
    2: ("1*2=2", "2*1=2"),
    3: ("1+2=3", "2+1=3"),
  }


def test_the_space_of_three_numbers():
  classes = [
    len(texts)
    for numbers in itertools.combinations_with_replacement(range(1, 10), 3)
    for texts in countdown.solutions(numbers).values()
  ]
  # Figures of the recipe: about 1,860 classes with 1 to 22 solutions.
  assert (len(classes), min(classes), max(classes)) == (1864, 1, 22)


@pytest.mark.parametrize("weights", [_THREE, _MIXED])
def test_every_solution_satisfies_the_verifier(weights):
  for split in _problems(weights=weights).values():
    for problem in split:
      for text in problem.solutions:
        assert (
          rewards.countdown_outcome_of_text(
            text, problem.numbers, problem.target
          )
          == "correct"
        )


@pytest.mark.parametrize("weights", [_THREE, _MIXED])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_class_is_in_two_splits(seed, weights):
  problems = _problems(seed, weights=weights)
  generators.assert_disjoint(problems, lambda p: p.problem_class)


def test_a_class_is_the_same_in_every_order():
  problem = _problems()["train"][0]
  numbers, _, target = problem.problem_class.partition(":")
  assert tuple(map(int, numbers.split())) == tuple(sorted(problem.numbers))
  assert int(target) == problem.target


@pytest.mark.parametrize("weights", [_THREE, _MIXED])
def test_held_out_prompts_are_distinct(weights):
  generators.assert_held_out_prompts_are_distinct(_problems(weights=weights))


@pytest.mark.parametrize("weights", [_THREE, _MIXED])
def test_rows_are_a_function_of_the_seed_and_more_change_none(weights):
  generators.assert_rows_are_a_function_of_the_seed(
    functools.partial(_problems, weights=weights)
  )


def test_the_rows_of_three_numbers_are_the_published_ones():
  splits = countdown.problems(1, _THREE, 8000, 128, 128).values()
  rows = [tuple(problem) for split in splits for problem in split]
  assert hashlib.sha256(repr(rows).encode()).hexdigest() == (
    "91dd704cb28e64b484b77ef5d819c446a3a361b283d88714c015df7e181bebf3"
  )


def test_a_mixed_set_has_its_weights():
  train = _problems(rows=8000, weights=_MIXED)["train"]
  counts = collections.Counter(len(p.numbers) for p in train)
  assert counts.keys() == _MIXED.keys()
  for size, weight in _MIXED.items():
    # 8000 draws: a standard error of at most 0.006.
    assert abs(counts[size] / 8000 - weight / 8) < 0.03


def test_weights_change_how_many_problems_are_taken_and_not_which():
  of_three = [
    p for p in _problems(weights=_MIXED)["train"] if len(p.numbers) == 3
  ]
  assert len(of_three) > 40
  assert _problems()["train"][: len(of_three)] == of_three


def test_two_and_three_numbers_have_all_solutions_and_more_have_one():
  for problem in _problems(weights=_MIXED)["train"]:
    if len(problem.numbers) > 3:
      assert len(problem.solutions) == 1
    else:
      ordered = tuple(sorted(problem.numbers))
      expected = countdown.solutions(ordered)[problem.target]
      assert problem.solutions == expected


def test_prompts_show_the_numbers_and_the_target():
  for problem in _problems()["test"]:
    shown = " ".join(map(str, problem.numbers))
    assert problem.prompt == f"{shown}:{problem.target}>"


def test_doubts_give_up_failed_attempts_before_a_solution():
  rng = random.Random(0)
  (problem,) = countdown.problems(0, {3: 1.0}, 1, 0, 0)["train"]
  attempts = collections.Counter()
  for _ in range(300):
    text = countdown.with_doubt(problem, rng, 2)
    *failed, last = text.split(countdown.DOUBT)
    assert last in problem.solutions
    for path in failed:
      judged = rewards.countdown_outcome_of_text(
        path, problem.numbers, problem.target
      )
      assert judged == "wrong"
      # It uses all numbers and calculates well; only the target is missed.
      reached = int(path.rpartition("=")[2])
      judged = rewards.countdown_outcome_of_text(path, problem.numbers, reached)
      assert judged == "correct"
    attempts[len(failed)] += 1
  assert set(attempts) == {0, 1, 2}
  assert countdown.with_doubt(problem, rng, 0) in problem.solutions
