"""Rows of the tasks in the manner of SynLogic, as the builders write them.

Each function takes a `builders.GeneratedConfig` and makes one task's `Rows`.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

from rlvr_jax.data import boolean_expressions as boolean_lib
from rlvr_jax.data import dyck as dyck_lib
from rlvr_jax.data import dyck_errors as dyck_errors_lib
from rlvr_jax.data import math_path as math_path_lib
from rlvr_jax.data import vocabulary

# Settings of GeneratedConfig by variant.
VARIANTS = {
  "boolean_expressions": {"four": {}, "six": {"num_options": 6, "depth": 3}},
  "dyck": {"two": {}},
  "dyck_errors": {"two": {}},
  "math_path": {
    "half": {},
    "all": {"hidden_percent": 100},
    "nine": {"num_digits": 9, "hidden_percent": 70},
  },
}


class Rows(NamedTuple):
  """A data set before it is written.

  Attributes:
    shapes: of the features that the verifier reads, all of them i32.
    problems: draws them: by split, each with `prompt` and `problem_class`.
    features: of a problem: its demonstrations, and a value for each shape.
  """

  shapes: Mapping[str, tuple[int, ...]]
  problems: Callable[[], Mapping[str, list]]
  features: Callable[[Any], dict]


def dyck(config: Any) -> Rows:
  """See `data.dyck`."""
  width = config.most_missing

  def features(problem: dyck_lib.Problem) -> dict:
    padding = (dyck_lib.NO_BRACKET,) * (width - len(problem.closing))
    return {
      "demonstrations": problem.answer,
      "closing": problem.closing + padding,
    }

  draw = functools.partial(
    dyck_lib.problems, config.seed, config.word_length, width, *_sizes(config)
  )
  return Rows({"closing": (width,)}, draw, features)


def dyck_errors(config: Any) -> Rows:
  """See `data.dyck_errors`."""
  draw = functools.partial(
    dyck_errors_lib.problems, config.seed, config.word_length, *_sizes(config)
  )
  return Rows({"answer": ()}, draw, _demonstrated("answer"))


def boolean_expressions(config: Any) -> Rows:
  """See `data.boolean_expressions`."""
  num_options = config.num_options
  draw = functools.partial(
    boolean_lib.problems,
    config.seed,
    num_options,
    config.depth,
    *_sizes(config),
  )
  return Rows(
    {"true_options": (num_options,)}, draw, _demonstrated("true_options")
  )


def math_path(config: Any) -> Rows:
  """See `data.math_path`."""
  width = math_path_lib.width(config.num_digits)

  def features(problem: math_path_lib.Problem) -> dict:
    ids = vocabulary.LOGIC.encode(problem.template)
    return {
      "demonstrations": problem.demonstration,
      "template": ids + (math_path_lib.NO_SYMBOL,) * (width - len(ids)),
      "target": problem.target,
    }

  draw = functools.partial(
    math_path_lib.problems,
    config.seed,
    config.num_digits,
    config.hidden_percent,
    *_sizes(config),
  )
  return Rows({"template": (width,), "target": ()}, draw, features)


def _sizes(config) -> tuple[int, int, int]:
  return config.num_train, config.num_validation, config.num_test


def _demonstrated(*names: str) -> Callable[[Any], dict]:
  """Features that are attributes of the problem, beside its demonstration."""
  return lambda problem: {
    "demonstrations": problem.demonstration,
    **{name: getattr(problem, name) for name in names},
  }
