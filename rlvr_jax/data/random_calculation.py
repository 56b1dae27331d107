r"""RandomCalculation: arithmetic that no model can have memorised.

`expressions` is the generator of "Reasoning or Memorization? Unreliable
Results of Reinforcement Learning Due to Data Contamination"
(https://arxiv.org/abs/2507.10532): LaTeX expressions of 0 .. 20 operations,
built level by level. [code*: a mirror of the authors' tree]. Everything is
rational, so values are exact fractions here, where the mirror uses floats.

`chains` is a short form of ours for small models: "1+5-4+7=" is answered by
restating each step, "1+5=6,6-4=2,2+7=9#9". Two demonstrations in five end in a
separator that the verifier rejects, so that there is a format to learn first.
"""

from fractions import Fraction
import math
import random
from typing import NamedTuple

_LEVEL_ROWS = 1000
_PAIRS = 1200
# How far 15 significant digits may be from the exact value.
_ROUND_TRIP = Fraction(1, 1000)


class Expression(NamedTuple):
  """A LaTeX expression and its exact value.

  Attributes:
    text: as shown.
    value: of the text under ordinary precedence.
    first_term: value of the text up to its first + or - outside parentheses.
      "a" minus "b+c" is written a-b+c, so the value of a difference needs it.
    op_count: binary operations inside.
  """

  text: str
  value: Fraction
  first_term: Fraction
  op_count: int

  def answer(self) -> str:
    """Value with 15 significant digits."""
    return f"{float(self.value):.15g}"


def leaves() -> list[Expression]:
  """Level 0: 100 integers, 792 unreduced fractions, 196 powers."""
  texts = {str(i): Fraction(i) for i in range(100)}
  texts |= {
    rf"\frac{{{i}}}{{{d}}}": Fraction(i, d)
    for d in range(2, 10)
    for i in range(1, 100)
  }
  texts |= {
    f"{i}^{power}": Fraction(i**power)
    for power in (2, 3)
    for i in range(2, 100)
  }
  return [Expression(t, value, value, 0) for t, value in texts.items()]


def _wrapped(operand: Expression) -> str:
  return f"({operand.text})" if operand.op_count else operand.text


def combine(
  left: Expression, symbol: str, right: Expression
) -> Expression | None:
  """The expression `left symbol right`; None for a division by zero."""
  op_count = left.op_count + right.op_count + 1
  if symbol in "+-":
    sign = 1 if symbol == "+" else -1
    # Only the first term of the right operand carries the written sign.
    value = (
      left.value + sign * right.first_term + (right.value - right.first_term)
    )
    text = left.text + symbol + right.text
    return Expression(text, value, left.first_term, op_count)
  if symbol == "/" and right.value == 0:
    return None
  value = (
    left.value * right.value if symbol == "*" else left.value / right.value
  )
  text = _wrapped(left) + symbol + _wrapped(right)
  return Expression(text, value, value, op_count)


def _keep(expression: Expression | None) -> bool:
  if expression is None:
    return False
  try:
    number = float(expression.value)
  except OverflowError:
    return False
  if not math.isfinite(number):
    return False
  return abs(Fraction(expression.answer()) - expression.value) < _ROUND_TRIP


def expressions(seed: int, level: int) -> list[Expression]:
  """Up to 1000 distinct expressions with `level` operations; pure in the seed.

  Level n combines, for every j below n / 2, 1200 random pairs of one operand
  of level j and one of level n - 1 - j. Differs from the mirror: repeated
  texts are dropped, so that splits share no expression.
  """
  levels: list[list[Expression]] = []
  for n in range(level + 1):
    rng = random.Random(f"random_calculation {seed} {n}")
    if n == 0:
      pool = leaves()
    else:
      pool = []
      for j in range((n + 1) // 2):
        for _ in range(_PAIRS):
          pair = [rng.choice(levels[j]), rng.choice(levels[n - 1 - j])]
          symbol = rng.choice("+-*/")
          if rng.random() < 0.5:
            pair.reverse()
          pool.append(combine(pair[0], symbol, pair[1]))
    distinct = {e.text: e for e in pool if _keep(e)}
    pool = list(distinct.values())
    rng.shuffle(pool)
    levels.append(pool[:_LEVEL_ROWS])
  return levels[level]


class Chain(NamedTuple):
  """A sum of single digits with its worked solution.

  Example: Chain("1+5-4=", 2, ("1+5=6,6-4=2#2",) * 3 + (..., ...)).
  """

  prompt: str
  answer: int
  demonstrations: tuple[str, ...]


# Running totals stay in 0 .. 19, so that the facts to learn are few.
_MAX_TOTAL = 19
# The last two are rejected by the verifier: 40 % of demonstrations.
_SEPARATORS = ("#", "#", "#", ";", ":")


def _chain(rng: random.Random, num_operands: int) -> Chain:
  total = rng.randint(1, 9)
  prompt, steps = str(total), []
  for _ in range(num_operands - 1):
    moves = [d for d in range(-9, 10) if d and 0 <= total + d <= _MAX_TOTAL]
    move = rng.choice(moves)
    step = f"{'+' if move > 0 else '-'}{abs(move)}"
    prompt += step
    steps.append(f"{total}{step}={total + move}")
    total += move
  worked = ",".join(steps)
  ends = tuple(f"{worked}{separator}{total}" for separator in _SEPARATORS)
  return Chain(prompt + "=", total, ends)


def chains(
  seed: int, num_train: int, num_validation: int, num_test: int
) -> dict[str, list[Chain]]:
  """Distinct chains of 2 to 5 operands by split; pure in the seed.

  The expression is the problem class: no two chains of the result share one.
  """
  rng = random.Random(f"chains {seed}")
  wanted = num_train + num_validation + num_test
  distinct: dict[str, Chain] = {}
  while len(distinct) < wanted:
    chain = _chain(rng, rng.randint(2, 5))
    distinct.setdefault(chain.prompt, chain)
  rows = list(distinct.values())
  rng.shuffle(rows)
  first, second = num_validation, num_validation + num_test
  return {
    "validation": rows[:first],
    "test": rows[first:second],
    "train": rows[second:],
  }
