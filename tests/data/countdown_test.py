"""The Countdown generator: true solutions, split by class, pure in the seed."""

import itertools

import pytest

from rlvr_jax import rewards
from rlvr_jax.data import countdown


def _problems(seed=0, rows=600):
  return countdown.problems(seed, 3, rows, 40, 40)


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


def test_every_solution_satisfies_the_verifier():
  for split in _problems().values():
    for problem in split:
      for text in problem.solutions:
        assert (
          rewards.countdown_outcome_of_text(
            text, problem.numbers, problem.target
          )
          == "correct"
        )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_class_is_in_two_splits(seed):
  splits = [{p.problem_class for p in s} for s in _problems(seed).values()]
  for first, second in itertools.combinations(splits, 2):
    assert not first & second


def test_a_class_is_the_same_in_every_order():
  problem = _problems()["train"][0]
  numbers, _, target = problem.problem_class.partition(":")
  assert tuple(map(int, numbers.split())) == tuple(sorted(problem.numbers))
  assert int(target) == problem.target


def test_held_out_prompts_are_distinct():
  problems = _problems()
  for split in ("validation", "test"):
    assert len({p.prompt for p in problems[split]}) == len(problems[split])


def test_rows_are_a_function_of_the_seed():
  assert _problems(3) == _problems(3)
  assert _problems(3) != _problems(4)


def test_more_training_rows_change_no_earlier_row():
  few, many = _problems(rows=100), _problems(rows=600)
  assert many["train"][:100] == few["train"]
  assert many["test"] == few["test"]


def test_prompts_show_the_numbers_and_the_target():
  for problem in _problems()["test"]:
    shown = " ".join(map(str, problem.numbers))
    assert problem.prompt == f"{shown}:{problem.target}>"
