"""Splits by class: a function of the class, each with a tenth of them."""

import collections
import random
from typing import NamedTuple

from rlvr_jax.data import held_out


class _Problem(NamedTuple):
  prompt: str
  problem_class: str


def _draw(rng: random.Random) -> _Problem:
  number = rng.randrange(3000)
  return _Problem(f"{number}>", str(number // 2))


def test_the_docstring_example_is_true():
  assert held_out.split_of("dyck", 0, "({()") == "train"


def test_a_tenth_of_the_classes_is_held_out_twice():
  splits = [held_out.split_of("some", 1, str(i)) for i in range(20_000)]
  counts = collections.Counter(splits)
  for split in ("validation", "test"):
    assert abs(counts[split] - 2000) < 250
  assert splits != [held_out.split_of("some", 2, str(i)) for i in range(20_000)]
  assert splits != [
    held_out.split_of("other", 1, str(i)) for i in range(20_000)
  ]


def test_splits_are_full_disjoint_by_class_and_pure():
  rows = held_out.draw_splits("some", 0, _draw, 500, 30, 20)
  assert {name: len(found) for name, found in rows.items()} == {
    "train": 500,
    "validation": 30,
    "test": 20,
  }
  for split, found in rows.items():
    for problem in found:
      assert held_out.split_of("some", 0, problem.problem_class) == split
  assert len({p.prompt for p in rows["test"]}) == 20
  assert rows == held_out.draw_splits("some", 0, _draw, 500, 30, 20)
  assert rows != held_out.draw_splits("some", 1, _draw, 500, 30, 20)
