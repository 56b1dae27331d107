"""Math path: fill the hidden digits of an equation so that it holds.

The prompt "?+3*?=9>" asks for "#0+3*3=9", "#3+3*2=9" or any other filling that
holds. Operands are single digits; * / % bind stronger than + and -, and equal
ones from the left. All arithmetic is exact: a division that leaves a remainder,
or one by zero, holds for no value.

A problem class is the equation with its summands in one order, and the factors
of each product as well: all these orders are the same problem. Whole classes
are held out.

See SynLogic's math_path (https://arxiv.org/abs/2505.19641) [code:
MiniMax-AI/SynLogic: games/tasks]: 11 digits, of which each is hidden with
probability .5 to 1, and up to two pairs of operands in parentheses. Pairs in
parentheses are left out. That the right side is always shown is [inferred];
that at least one digit is hidden, and at most nine digits, whose product an i32
holds, are ours.
"""

import functools
import random
import re
from typing import NamedTuple

from rlvr_jax.data import held_out

# Stands for a digit to be filled in.
HIDDEN = "?"
OPERATORS = "+-*/%"
# Fills `template` of a shorter equation beside a longer one.
NO_SYMBOL = -1
# 9 ** 9 is below 2 ** 31.
MAX_DIGITS = 9
_PRODUCT = re.compile(r"[?0-9*]+")


class Problem(NamedTuple):
  """One prompt and what its answers have to be.

  Example: Problem("?+3*?=9>", "+3*?+?=9", "?+3*?=9", 9, "#3+3*2=9").

  Attributes:
    prompt: the equation, and ">".
    problem_class: the same for every order of summands and factors.
    template: the equation, with its hidden digits.
    target: its right side.
    demonstration: one completion that is right.
  """

  prompt: str
  problem_class: str
  template: str
  target: int
  demonstration: str


def value(text: str) -> int | None:
  """The value of single digits joined by operators; None if not exact.

  Example: value("8-7*4/2") == -6, and value("8-7/2") is None.
  """
  total = 0
  for term in re.findall(r"[+-]?[^+-]+", text):
    sign = -1 if term[0] == "-" else 1
    product, *rest = term.lstrip("+-")
    product = int(product)
    for operator, digit in zip(rest[::2], map(int, rest[1::2]), strict=True):
      if operator == "*":
        product *= digit
      elif digit == 0 or (operator == "/" and product % digit):
        return None
      else:
        product = product // digit if operator == "/" else product % digit
    total += sign * product
  return total


def problem(equation: str, hidden: tuple[bool, ...]) -> Problem:
  """The problem of an equation that holds.

  Args:
    equation: such as "3+3*2=9".
    hidden: says of each digit of the left side if it is hidden.
  """
  left, right = equation.split("=")
  shown = list(left)
  for place, hides in enumerate(hidden):
    if hides:
      shown[2 * place] = HIDDEN
  terms = []
  for term in re.findall(r"[+-]?[^+-]+", "+" + "".join(shown)):
    sign, factors = term[0], term[1:]
    if _PRODUCT.fullmatch(factors):
      factors = "*".join(sorted(factors.split("*")))
    terms.append(sign + factors)
  template = f"{''.join(shown)}={right}"
  return Problem(
    prompt=f"{template}>",
    problem_class=f"{''.join(sorted(terms))}={right}",
    template=template,
    target=int(right),
    demonstration=f"#{equation}",
  )


def _draw(rng: random.Random, num_digits: int, hidden_percent: int) -> Problem:
  """Digits and operators, each as likely as another, until they are exact."""
  while True:
    symbols = [str(rng.randint(0, 9))]
    for _ in range(num_digits - 1):
      symbols += [rng.choice(OPERATORS), str(rng.randint(0, 9))]
    found = value("".join(symbols))
    hidden = tuple(
      rng.randrange(100) < hidden_percent for _ in range(num_digits)
    )
    if found is not None and any(hidden):
      return problem(f"{''.join(symbols)}={found}", hidden)


def width(num_digits: int) -> int:
  """Characters of the longest equation."""
  # Every operand with its operator or "=", a sign and the largest product.
  return 2 * num_digits + 1 + len(str(9**num_digits))


def problems(
  seed: int,
  num_digits: int,
  hidden_percent: int,
  num_train: int,
  num_validation: int,
  num_test: int,
) -> dict[str, list[Problem]]:
  """Problems drawn at random, split by class; pure in the arguments.

  Args:
    seed: decides the draws and which classes are held out.
    num_digits: operands of each equation, at most `MAX_DIGITS`.
    hidden_percent: how often a digit is hidden.
    num_train: rows of the training split.
    num_validation: prompts of the validation split.
    num_test: prompts of the test split.

  Returns:
    {"train": ..., "validation": ..., "test": ...}.
  """
  assert 1 < num_digits <= MAX_DIGITS
  assert 0 < hidden_percent <= 100
  draw = functools.partial(
    _draw, num_digits=num_digits, hidden_percent=hidden_percent
  )
  return held_out.draw_splits(
    "math_path", seed, draw, num_train, num_validation, num_test
  )
