"""Dyck errors: find the first bracket that cannot stand where it stands.

The prompt "(}()>" asks for "#2": the brackets before the second are the
beginning of some word, and with it they are none. A word that ends with
brackets open goes wrong behind its last bracket, so "(()(>" asks for "#5"; a
valid word asks for "#0".

One word in five is valid. The others have one bracket exchanged: a closing one
for the closing one of the other kind (mismatch), a closing one for an opening
one (unclosed), or an opening one for a closing one (extra closing). So all
words have one length, and it gives nothing away.

A problem class is a word up to a renaming of its kinds of brackets, as in
`data.dyck`. Whole classes are held out.

See SynLogic's dyck_language_errors (https://arxiv.org/abs/2505.19641) [code:
MiniMax-AI/SynLogic: games/tasks]: three kinds, 20 brackets, -1 for a valid
word. Two kinds, 0 for a valid word (`rewards.chain_outcomes` reads no sign),
exchanges that keep the length, and equally many of each corruption are ours.
"""

import functools
import random
from typing import NamedTuple

from rlvr_jax.data import dyck
from rlvr_jax.data import held_out

# Percent of the words that are valid.
_VALID_PERCENT = 20
_CORRUPTIONS = ("mismatch", "unclosed", "extra closing")


class Problem(NamedTuple):
  """One prompt and its answer.

  Example: Problem("{)()>", "(}{}", 2).

  Attributes:
    prompt: the word, and ">".
    problem_class: the same for every renaming of the kinds.
    answer: place of the first bracket that cannot stand there, from 1;
      length + 1 of a word that only lacks brackets; 0 of a valid one.
  """

  prompt: str
  problem_class: str
  answer: int

  @property
  def demonstration(self) -> str:
    """The completion that is right."""
    return f"#{self.answer}"


def first_error(word: str) -> int:
  """Where a word goes wrong; see `Problem.answer`.

  Example: first_error("(}()") == 2.
  """
  closers = dict(dyck.KINDS)
  wanted = []
  for place, bracket in enumerate(word, 1):
    if bracket in closers:
      wanted.append(closers[bracket])
    elif not wanted or wanted.pop() != bracket:
      return place
  return len(word) + 1 if wanted else 0


def problem(word: str) -> Problem:
  """The problem of any word of brackets."""
  return Problem(f"{word}>", dyck.renamed(word), first_error(word))


def _corrupted(rng: random.Random, word: str) -> str:
  """The word with one bracket exchanged, so that it is no longer valid."""
  corruption = rng.choice(_CORRUPTIONS)
  # 0 exchanges an opening bracket, 1 a closing one.
  side = 0 if corruption == "extra closing" else 1
  place = rng.choice(
    [i for i, bracket in enumerate(word) if bracket == _kind(bracket)[side]]
  )
  if corruption == "mismatch":
    kinds = [kind for kind in dyck.KINDS if kind != _kind(word[place])]
    bracket = rng.choice(kinds)[1]
  else:
    bracket = rng.choice(dyck.KINDS)[1 - side]
  return word[:place] + bracket + word[place + 1 :]


def _kind(bracket: str) -> str:
  return next(pair for pair in dyck.KINDS if bracket in pair)


def _draw(rng: random.Random, length: int) -> Problem:
  valid = rng.randrange(100) < _VALID_PERCENT
  word = dyck.random_word(rng, length, ())
  return problem(word if valid else _corrupted(rng, word))


def problems(
  seed: int,
  length: int,
  num_train: int,
  num_validation: int,
  num_test: int,
) -> dict[str, list[Problem]]:
  """Problems drawn at random, split by class; pure in the arguments.

  Args:
    seed: decides the draws and which classes are held out.
    length: brackets of a word, an even number.
    num_train: rows of the training split.
    num_validation: prompts of the validation split.
    num_test: prompts of the test split.

  Returns:
    {"train": ..., "validation": ..., "test": ...}.
  """
  assert length % 2 == 0
  draw = functools.partial(_draw, length=length)
  return held_out.draw_splits(
    "dyck_errors", seed, draw, num_train, num_validation, num_test
  )
