"""What every generator of problems owes."""

import itertools

import jax.numpy as jnp
import numpy as np

from rlvr_jax import records


def assert_splits_are_disjoint(problems):
  """No class is in two splits.

  Args:
    problems: seed -> problems by split.
  """
  for seed in (0, 1, 2):
    splits = [{p.problem_class for p in s} for s in problems(seed).values()]
    for first, second in itertools.combinations(splits, 2):
      assert not first & second


def assert_rows_are_a_function_of_the_seed(problems):
  """And more rows change none of the others.

  Args:
    problems: (seed, rows=...) -> problems by split.
  """
  first = problems(3)
  assert first == problems(3)
  assert first != problems(4)
  few = problems(3, rows=100)
  assert first["train"][:100] == few["train"]
  assert first["test"] == few["test"]


def rows_of(texts, vocabulary, length):
  """Completions with their ends, i32[N, length]."""
  rows = np.full((len(texts), length), vocabulary.pad_id)
  for row, text in zip(rows, texts, strict=True):
    ids = (*vocabulary.encode(text), vocabulary.eos_id)
    row[: len(ids)] = ids
  return jnp.asarray(rows, jnp.int32)


def assert_all_correct(outcomes):
  """Every row's outcome is "correct"."""
  assert np.all(np.asarray(outcomes) == records.OUTCOMES.index("correct"))
