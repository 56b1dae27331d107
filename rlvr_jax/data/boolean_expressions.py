"""Boolean expressions: which of some options are true.

The prompt "A:!(3<2);B:T&F;C:(1+2=3)|F>" asks for "#AC", the letters of the true
options in alphabetical order. At least one is true. "<" and "=" compare
arithmetic of integers; "!", "&" and "|" are not, and, or; T and F are true and
false. Whatever is no literal stands in parentheses where it is an operand, so
that only the arithmetic needs precedence.

A problem class is the set of its options: all their orders are the same
problem. Whole classes are held out.

See SynLogic's boolean_expressions (https://arxiv.org/abs/2505.19641) [code:
MiniMax-AI/SynLogic: games/tasks] for the recursion and its shares. Its world
facts, 30 % of the leaves, are left out: characters as tokens know no world, and
the other leaves share their place in proportion. What is compared, one to three
digits joined by + - *, is ours [inferred], and so is that options are distinct.
"""

import functools
import random
from typing import NamedTuple

from rlvr_jax.data import held_out

# Names of the options; a problem has at most so many.
LETTERS = "ABCDEF"
# Of a prompt; longer ones are drawn again.
MAX_CHARACTERS = 500
_LEAF_SHARE = 0.3
# Of 70 % of the leaves.
_COMPARISON_SHARE = 0.4 / 0.7
_NOT_SHARE, _AND_SHARE = 0.35, 0.35
_THIRD_SHARE = 0.4


class Expression(NamedTuple):
  """A text and its value.

  Example: Expression("T&(1<2)", True).
  """

  text: str
  is_true: bool

  def as_operand(self) -> str:
    """The text, in parentheses unless it is a literal."""
    return self.text if len(self.text) == 1 else f"({self.text})"


class Problem(NamedTuple):
  """One prompt and its answer.

  Example: Problem("A:T&F;B:1<2>", "1<2;T&F", (0, 1)).

  Attributes:
    prompt: the options by letter, and ">".
    problem_class: the same for every order of the options.
    true_options: 1 where an option is true and 0 where not.
  """

  prompt: str
  problem_class: str
  true_options: tuple[int, ...]

  @property
  def demonstration(self) -> str:
    """The completion that is right."""
    return f"#{letters(self.true_options)}"


def letters(true_options: tuple[int, ...]) -> str:
  """The letters of the true options.

  Example: letters((1, 0, 1)) == "AC".
  """
  pairs = zip(LETTERS, true_options, strict=False)
  return "".join(letter for letter, is_true in pairs if is_true)


def _comparison(rng: random.Random) -> Expression:
  """Two sums and products of one to three digits, beside each other."""
  sides = []
  for _ in range(2):
    text = str(rng.randint(0, 9))
    for _ in range(rng.randint(0, 2)):
      text += f"{rng.choice('+-*')}{rng.randint(0, 9)}"
    sides.append(text)
  left, right = map(value, sides)
  sign = rng.choice("<=")
  is_true = left < right if sign == "<" else left == right
  return Expression(sign.join(sides), is_true)


def value(text: str) -> int:
  """The value of digits joined by + - *, with the usual precedence.

  Example: value("2-3*4") == -10.
  """
  total, product, sign = 0, 1, 1
  for i in range(0, len(text), 2):
    symbol = text[i - 1] if i else "*"
    if symbol != "*":
      total += sign * product
      product, sign = 1, 1 if symbol == "+" else -1
    product *= int(text[i])
  return total + sign * product


def expression(rng: random.Random, depth: int) -> Expression:
  """A random expression, nested at most so deep."""
  if depth <= 0 or (depth <= 2 and rng.random() < _LEAF_SHARE):
    if rng.random() < _COMPARISON_SHARE:
      return _comparison(rng)
    is_true = rng.random() < 0.5
    return Expression("T" if is_true else "F", is_true)
  kind = rng.random()
  if kind < _NOT_SHARE:
    times = rng.randint(1, 3)
    operand = expression(rng, depth - 1)
    text = "!" * times + operand.as_operand()
    return Expression(text, operand.is_true != (times % 2 == 1))
  number = 3 if depth > 2 and rng.random() < _THIRD_SHARE else 2
  operands = [expression(rng, depth - 1) for _ in range(number)]
  symbol, join = ("&", all) if kind < _NOT_SHARE + _AND_SHARE else ("|", any)
  return Expression(
    symbol.join(operand.as_operand() for operand in operands),
    join(operand.is_true for operand in operands),
  )


def _draw(rng: random.Random, num_options: int, depth: int) -> Problem:
  """Distinct options of which at least one is true."""
  while True:
    options = [expression(rng, depth) for _ in range(num_options)]
    texts = [option.text for option in options]
    named = map(":".join, zip(LETTERS, texts, strict=False))
    found = Problem(
      prompt=";".join(named) + ">",
      problem_class=";".join(sorted(texts)),
      true_options=tuple(int(option.is_true) for option in options),
    )
    fits = len(found.prompt) <= MAX_CHARACTERS
    if fits and any(found.true_options) and len(set(texts)) == num_options:
      return found


def problems(
  seed: int,
  num_options: int,
  depth: int,
  num_train: int,
  num_validation: int,
  num_test: int,
) -> dict[str, list[Problem]]:
  """Problems drawn at random, split by class; pure in the arguments.

  Args:
    seed: decides the draws and which classes are held out.
    num_options: of each problem, at most `len(LETTERS)`.
    depth: how deep an option is nested, at most.
    num_train: rows of the training split.
    num_validation: prompts of the validation split.
    num_test: prompts of the test split.

  Returns:
    {"train": ..., "validation": ..., "test": ...}.
  """
  assert 0 < num_options <= len(LETTERS)
  draw = functools.partial(_draw, num_options=num_options, depth=depth)
  return held_out.draw_splits(
    "boolean_expressions", seed, draw, num_train, num_validation, num_test
  )
