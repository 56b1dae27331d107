"""Problems drawn at random and split by class, for any generator."""

from collections.abc import Callable
import random
from typing import Any
import zlib

# Percent of the classes that each held-out split draws from.
_HELD_OUT_PERCENT = 10


def split_of(name: str, seed: int, problem_class: str) -> str:
  """The split of a class: a function of the arguments alone.

  Example: split_of("dyck", 0, "({()") == "train".
  """
  place = zlib.crc32(f"{name} {seed} {problem_class}".encode()) % 100
  if place < _HELD_OUT_PERCENT:
    return "test"
  return "validation" if place < 2 * _HELD_OUT_PERCENT else "train"


def draw_splits(
  name: str,
  seed: int,
  draw: Callable[[random.Random], Any],
  num_train: int,
  num_validation: int,
  num_test: int,
) -> dict[str, list]:
  """Draws until every split is full; pure in the arguments.

  Training rows are plain draws; held-out prompts are distinct.

  Args:
    name: of the generator, so that no two share a stream.
    seed: decides the draws and which classes are held out.
    draw: makes a problem, with `prompt` and `problem_class`.
    num_train: rows of the training split.
    num_validation: prompts of the validation split.
    num_test: prompts of the test split.

  Returns:
    {"train": ..., "validation": ..., "test": ...}.
  """
  rng = random.Random(f"{name} {seed}")
  wanted = {"train": num_train, "validation": num_validation, "test": num_test}
  rows: dict[str, list] = {split: [] for split in wanted}
  held_out_prompts = set()
  while any(len(rows[split]) < wanted[split] for split in wanted):
    found = draw(rng)
    split = split_of(name, seed, found.problem_class)
    if len(rows[split]) == wanted[split]:
      continue
    if split != "train":
      if found.prompt in held_out_prompts:
        continue
      held_out_prompts.add(found.prompt)
    rows[split].append(found)
  return rows
