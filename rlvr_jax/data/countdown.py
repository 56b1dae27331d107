r"""Countdown: reach a target with every given number used once.

The prompt "6 1 5:11>" asks for worked steps such as "6-1=5,5+6=11": every
equation takes two numbers from the pool and puts its result back; the last
result is the target. A problem of two or three numbers comes with all of its
solutions, a longer one with the random steps that made its target.

A demonstration may hold attempts that miss the target, each given up with a
question mark: "6*1=6,6+5=11" for 10 is followed by "?" and another attempt.

A problem class is (sorted numbers, target): all orders of the numbers are the
same problem. Whole classes are held out, since a split by prompt text puts
nearly every held-out problem into training in another order.
"""

from collections.abc import Mapping
import functools
import random
from typing import NamedTuple

from rlvr_jax.data import held_out

# Every result lies in 1 .. 99, as in the recipe of this task.
MAX_VALUE = 99
# Abandons what was written before it.
DOUBT = "?"
# Fills `numbers` of a shorter problem beside a longer one.
NO_NUMBER = -1
# Up to here all solutions are found; six numbers have millions of them.
_MAX_ENUMERATED = 3


class Problem(NamedTuple):
  """One prompt with solutions of it: every one, or the one that made it.

  Example: Problem("6 1 5:11>", "1 5 6:11", (6, 1, 5), 11,
                   ("1*5=5,5+6=11", "1*6=6,5+6=11", ...)).
  """

  prompt: str
  problem_class: str
  numbers: tuple[int, ...]
  target: int
  solutions: tuple[str, ...]


@functools.cache
def solutions(numbers: tuple[int, ...]) -> dict[int, tuple[str, ...]]:
  """Worked solutions by the target that they reach, sorted.

  Operators are +, - and *; a difference is written larger number first, and
  every result lies in 1 .. MAX_VALUE.
  """
  found: dict[int, set[str]] = {}

  def extend(pool: tuple[int, ...], equations: tuple[str, ...]) -> None:
    if len(pool) == 1:
      found.setdefault(pool[0], set()).add(",".join(equations))
      return
    for i, a in enumerate(pool):
      for j, b in enumerate(pool):
        rest = tuple(n for k, n in enumerate(pool) if k not in (i, j))
        for symbol, value in (("+", a + b), ("-", a - b), ("*", a * b)):
          if i != j and 1 <= value <= MAX_VALUE:
            equation = f"{a}{symbol}{b}={value}"
            extend((*rest, value), (*equations, equation))

  extend(numbers, ())
  return {target: tuple(sorted(texts)) for target, texts in found.items()}


def with_doubt(problem: Problem, rng: random.Random, most: int) -> str:
  """A solution of the problem behind as many as `most` failed attempts.

  Each number of attempts from 0 on is equally likely; an attempt is a random
  way to use all numbers that misses the target.
  """
  attempts = []
  for _ in range(rng.randint(0, most)):
    target, path = _random_path(rng, problem.numbers)
    if target != problem.target:
      attempts.append(path)
  return DOUBT.join((*attempts, rng.choice(problem.solutions)))


def _random_path(
  rng: random.Random, numbers: tuple[int, ...]
) -> tuple[int, str]:
  """As `_random_path_once`, until it succeeds."""
  while True:
    if found := _random_path_once(rng, numbers):
      return found


def _random_path_once(
  rng: random.Random, numbers: tuple[int, ...]
) -> tuple[int, str] | None:
  """Random steps over all numbers: last result and text, unless out of range.

  + comes twice as often as - and *.
  """
  pool, equations = list(numbers), []
  while len(pool) > 1:
    rng.shuffle(pool)
    a, b = pool.pop(), pool.pop()
    symbol = rng.choice("++-*")
    if symbol == "-":
      a, b = max(a, b), min(a, b)
    value = a + b if symbol == "+" else a * b if symbol == "*" else a - b
    pool.append(value)
    equations.append(f"{a}{symbol}{b}={value}")
    if not 1 <= value <= MAX_VALUE:
      return None
  return pool[0], ",".join(equations)


def _draw(rng: random.Random, num_numbers: int, target: int) -> Problem:
  """Numbers 1 .. 9 and what random steps make: the target, if it is not 0."""
  while True:
    numbers = tuple(rng.randint(1, 9) for _ in range(num_numbers))
    found = _random_path_once(rng, numbers)
    if found and target in (0, found[0]):
      return _problem(numbers, *found)


def problems(
  seed: int,
  weights: Mapping[int, float],
  num_train: int,
  num_validation: int,
  num_test: int,
  target: int = 0,
) -> dict[str, list[Problem]]:
  """Problems drawn at random, split by class; pure in the arguments.

  All splits follow the same distribution. Training rows are plain draws, so
  that common problems come more than once; held-out prompts are distinct. Two
  numbers have only about 25 of those in a split: where they run out, longer
  problems take their place.

  Args:
    seed: decides the draws and which classes are held out.
    weights: how often a problem has so many numbers, up to a factor.
    num_train: rows of the training split.
    num_validation: prompts of the validation split.
    num_test: prompts of the test split.
    target: of every problem; 0 for any.

  Returns:
    {"train": ..., "validation": ..., "test": ...}.
  """
  # A stream for each number of numbers: the weights change how many of its
  # problems are taken, not which.
  rngs = {n: random.Random(f"countdown {seed} {n}") for n in weights}
  sizes = random.Random(f"countdown {seed} sizes")
  wanted = {"train": num_train, "validation": num_validation, "test": num_test}
  rows: dict[str, list[Problem]] = {split: [] for split in wanted}
  held_out_prompts = set()
  while any(len(rows[split]) < wanted[split] for split in wanted):
    (size,) = sizes.choices(list(weights), list(weights.values()))
    problem = _draw(rngs[size], size, target)
    split = held_out.split_of("countdown", seed, problem.problem_class)
    if len(rows[split]) == wanted[split]:
      continue
    if split != "train":
      if problem.prompt in held_out_prompts:
        continue
      held_out_prompts.add(problem.prompt)
    rows[split].append(problem)
  return rows


def _problem(numbers: tuple[int, ...], target: int, path: str) -> Problem:
  """The problem whose target the worked solution `path` reaches."""
  ordered = tuple(sorted(numbers))
  show = lambda values: " ".join(map(str, values))
  return Problem(
    prompt=f"{show(numbers)}:{target}>",
    problem_class=f"{show(ordered)}:{target}",
    numbers=numbers,
    target=target,
    solutions=(
      solutions(ordered)[target] if len(numbers) <= _MAX_ENUMERATED else (path,)
    ),
  )
