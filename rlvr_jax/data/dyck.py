"""Dyck words: close the brackets that are still open, in the right order.

The prompt "({()>" asks for "})". What a problem lacks is only closing
brackets, one for each that is open, so there is one shortest answer, and it
alone is right.

A problem class is a word up to a renaming of its kinds of brackets: "({" and
"{(" are the same problem. Whole classes are held out.

See SynLogic's dyck_language (https://arxiv.org/abs/2505.19641) [code:
MiniMax-AI/SynLogic: games/tasks], which asks for the whole word; its words have
2, 3 and 4 kinds, of which the vocabulary of the generated tasks has two.
"""

import functools
import random
from typing import NamedTuple

from rlvr_jax.data import held_out

# Opening and closing bracket of each kind.
KINDS = ("()", "{}")
# Fills `closing` of a problem that lacks fewer brackets than another.
NO_BRACKET = -1


class Problem(NamedTuple):
  """One prompt and its answer.

  Example: Problem("({()>", "({()", "})", (1, 0)).

  Attributes:
    prompt: the word so far, and ">".
    problem_class: the same for every renaming of the kinds.
    answer: the closing brackets that it lacks.
    closing: their kinds, indices into `KINDS`.
  """

  prompt: str
  problem_class: str
  answer: str
  closing: tuple[int, ...]


@functools.cache
def _num_ways(steps: int, depth: int) -> int:
  """In how many ways so many brackets lead to the depth, kinds aside."""
  if steps == 0 or depth < 0:
    return int(steps == depth == 0)
  return _num_ways(steps - 1, depth - 1) + _num_ways(steps - 1, depth + 1)


def random_word(
  rng: random.Random, length: int, closing: tuple[int, ...]
) -> str:
  """The beginning of a word, every one as likely as another.

  Args:
    rng: decides.
    length: brackets of the whole word.
    closing: kinds of the brackets that it lacks, the innermost first.
  """
  # Backwards, so that `_num_ways` weighs the two ways on from each depth; the
  # brackets open to the left of a place are those that the stack holds.
  word, stack = [], list(closing)
  for left in reversed(range(length - len(closing))):
    opened = rng.randrange(_num_ways(left + 1, len(stack))) < _num_ways(
      left, len(stack) - 1
    )
    if opened:
      # The innermost open bracket was written here.
      word.append(KINDS[stack.pop(0)][0])
    else:
      # A bracket was closed here, and is open to the left of it.
      stack.insert(0, rng.randrange(len(KINDS)))
      word.append(KINDS[stack[0]][1])
  return "".join(reversed(word))


def _draw(rng: random.Random, length: int, most_missing: int) -> Problem:
  """A problem; how many brackets it lacks is drawn first, from 1."""
  depth = rng.randint(1, most_missing)
  closing = tuple(rng.randrange(len(KINDS)) for _ in range(depth))
  return problem(random_word(rng, length, closing))


def renamed(word: str) -> str:
  """The word with its kinds of brackets named in order of appearance.

  Example: renamed("{(}") == "({)".
  """
  kinds, name = {}, []
  for letter in word:
    kind = next(pair for pair in KINDS if letter in pair)
    kind_of_class = KINDS[kinds.setdefault(kind, len(kinds))]
    name.append(kind_of_class[kind.index(letter)])
  return "".join(name)


def problem(word: str) -> Problem:
  """The problem of a word that lacks closing brackets only."""
  stack = []
  for letter in word:
    kind = next(i for i, pair in enumerate(KINDS) if letter in pair)
    if letter == KINDS[kind][0]:
      stack.append(kind)
    else:
      assert stack.pop() == kind, word
  closing = tuple(reversed(stack))
  return Problem(
    prompt=f"{word}>",
    problem_class=renamed(word),
    answer="".join(KINDS[kind][1] for kind in closing),
    closing=closing,
  )


def problems(
  seed: int,
  length: int,
  most_missing: int,
  num_train: int,
  num_validation: int,
  num_test: int,
) -> dict[str, list[Problem]]:
  """Problems drawn at random, split by class; pure in the arguments.

  Training rows are plain draws; held-out prompts are distinct.

  Args:
    seed: decides the draws and which classes are held out.
    length: brackets of the whole word, an even number.
    most_missing: brackets that a problem lacks, at most half of them.
    num_train: rows of the training split.
    num_validation: prompts of the validation split.
    num_test: prompts of the test split.

  Returns:
    {"train": ..., "validation": ..., "test": ...}.
  """
  assert length % 2 == 0
  assert 0 < most_missing <= length // 2
  draw = functools.partial(_draw, length=length, most_missing=most_missing)
  return held_out.draw_splits(
    "dyck", seed, draw, num_train, num_validation, num_test
  )
