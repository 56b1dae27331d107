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
    assert_disjoint(problems(seed), lambda p: p.problem_class)


def assert_disjoint(splits, described):
  """No problem of a split is described as one of another split."""
  seen = [set(map(described, split)) for split in splits.values()]
  for first, second in itertools.combinations(seen, 2):
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


def assert_held_out_prompts_are_distinct(problems):
  """In either of the two splits that are held out."""
  for split in ("validation", "test"):
    assert len({p.prompt for p in problems[split]}) == len(problems[split])


def assert_demonstrations_are_correct(
  problems, vocabulary, length, twin, outcomes
):
  """Both verifiers say so, the one on the device and its twin in Python.

  Args:
    problems: by split.
    vocabulary: of the demonstrations.
    length: of a row of tokens.
    twin: problem -> outcome of its demonstration, by name.
    outcomes: (rows, problems) -> outcomes on the device.
  """
  problems = list(itertools.chain(*problems.values()))
  rows = np.full((len(problems), length), vocabulary.pad_id)
  for row, problem in zip(rows, problems, strict=True):
    ids = (*vocabulary.encode(problem.demonstration), vocabulary.eos_id)
    row[: len(ids)] = ids
    assert twin(problem) == "correct"
  found = outcomes(jnp.asarray(rows, jnp.int32), problems)
  assert np.all(np.asarray(found) == records.OUTCOMES.index("correct"))
