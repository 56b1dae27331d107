"""The generated data sets as TensorFlow Datasets builders, without TensorFlow.

Rows are written as ArrayRecord and read by random access. The only importer of
tensorflow_datasets.

Each builder's rows are a pure function of its configuration. The configuration
is part of the folder's name, so that another split never meets an old file.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import io
import pathlib
import random
from typing import Any

from absl import logging
import numpy as np
import tensorflow_datasets as tfds

from rlvr_jax import errors
from rlvr_jax.data import countdown
from rlvr_jax.data import random_calculation
from rlvr_jax.data import synlogic

SPLITS = ("train", "validation", "test")
# Demonstrations of a problem where they hold doubts.
_DOUBTFUL_TEXTS = 8


@dataclasses.dataclass(kw_only=True)
class GeneratedConfig(tfds.core.BuilderConfig):
  """A builder configuration whose rows depend on nothing but itself.

  Attributes:
    seed: which problems are held out, and which are drawn at all.
    num_train: rows to train on.
    num_validation: prompts that tune the run.
    num_test: prompts that only the final figures see.
    number_weights: of Countdown, pairs of how many numbers a problem has and
      how often it is drawn.
    most_doubts: of Countdown, failed attempts in a demonstration, at most.
    target: of every Countdown problem; 0 for any.
    level: operations of each RandomCalculation expression.
    word_length: brackets of a whole Dyck word, or of a corrupted one.
    most_missing: brackets that a Dyck problem lacks, at most.
    num_options: of a problem of BooleanExpressions.
    depth: how deep such an option is nested, at most.
    num_digits: of the left side of a MathPath equation.
    hidden_percent: how often such a digit is hidden.
  """

  seed: int = 0
  num_train: int = 8000
  num_validation: int = 128
  num_test: int = 128
  number_weights: tuple[tuple[int, float], ...] = ((3, 1.0),)
  most_doubts: int = 0
  target: int = 0
  level: int = -1
  word_length: int = 16
  most_missing: int = 6
  num_options: int = 4
  depth: int = 2
  num_digits: int = 5
  hidden_percent: int = 50


class Countdown(tfds.core.GeneratorBasedBuilder):
  """See `data.countdown`: variants by how many numbers a problem has.

  "three"; "mixed", 2 to 6; "twenty_four", four numbers that make 24, without
  division; "doubt_three", "doubt_four" and "doubt" (three or four) with up to
  two failed attempts in each demonstration.

  `numbers` is as wide as the longest problem, with `countdown.NO_NUMBER` behind
  the numbers of a shorter one.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Three numbers, every solution beside its prompt."}

  def _info(self) -> tfds.core.DatasetInfo:
    return _info(
      self,
      numbers=tfds.features.Tensor(shape=(self._width(),), dtype=np.int32),
      target=np.int32,
    )

  def _width(self) -> int:
    return max(dict(self.builder_config.number_weights))

  def _split_generators(self, dl_manager):
    del dl_manager
    config = self.builder_config
    problems = countdown.problems(
      config.seed,
      dict(config.number_weights),
      config.num_train,
      config.num_validation,
      config.num_test,
      config.target,
    )
    return {split: self._generate_examples(problems[split]) for split in SPLITS}

  def _generate_examples(self, problems):
    rng = random.Random(f"countdown doubts {self.builder_config.seed}")
    for key, problem in enumerate(problems):
      texts = problem.solutions
      if self.builder_config.most_doubts:
        # The first has none: it is what a teacher is shown.
        most = (0, *(self.builder_config.most_doubts,) * _DOUBTFUL_TEXTS)
        texts = tuple(countdown.with_doubt(problem, rng, n) for n in most)
      padding = self._width() - len(problem.numbers)
      yield (
        key,
        {
          "prompt": problem.prompt,
          "problem_class": problem.problem_class,
          "demonstrations": "\n".join(texts),
          "numbers": problem.numbers + (countdown.NO_NUMBER,) * padding,
          "target": problem.target,
        },
      )


class RandomCalculation(tfds.core.GeneratorBasedBuilder):
  """See `data.random_calculation`; "chain" and "level_00" ... "level_20"."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Expressions by level, and the chain format."}

  def _info(self) -> tfds.core.DatasetInfo:
    if self.builder_config.level < 0:
      return _info(self, answer=np.int32)
    return _info(
      self,
      answer=tfds.features.Text(),
      numerator=tfds.features.Text(),
      denominator=tfds.features.Text(),
      op_count=np.int32,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    config = self.builder_config
    if config.level < 0:
      chains = random_calculation.chains(
        config.seed, config.num_train, config.num_validation, config.num_test
      )
      return {split: self._chain_rows(chains[split]) for split in SPLITS}
    rows = random_calculation.expressions(config.seed, config.level)
    # 70 % to train on, as in the paper's 700 of 1000; its 300 validation rows
    # are halved here, so that tuning and final figures see different ones.
    train, validation = len(rows) * 7 // 10, len(rows) * 85 // 100
    return {
      "train": self._expression_rows(rows[:train]),
      "validation": self._expression_rows(rows[train:validation]),
      "test": self._expression_rows(rows[validation:]),
    }

  def _generate_examples(self):
    raise AssertionError("each split names its own generator")

  def _chain_rows(self, chains):
    for key, chain in enumerate(chains):
      yield (
        key,
        {
          "prompt": chain.prompt,
          "problem_class": chain.prompt,
          "demonstrations": "\n".join(chain.demonstrations),
          "answer": chain.answer,
        },
      )

  def _expression_rows(self, expressions):
    for key, expression in enumerate(expressions):
      yield (
        key,
        {
          "prompt": expression.text + "=",
          "problem_class": expression.text,
          "demonstrations": expression.answer(),
          "answer": expression.answer(),
          "numerator": str(expression.value.numerator),
          "denominator": str(expression.value.denominator),
          "op_count": expression.op_count,
        },
      )


class _SynLogic(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A task of `data.synlogic`; `make` says which."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "The first rows."}
  make: Callable[[GeneratedConfig], synlogic.Rows]

  def _info(self) -> tfds.core.DatasetInfo:
    shapes = self.make(self.builder_config).shapes
    return _info(
      self,
      **{
        name: tfds.features.Tensor(shape=shape, dtype=np.int32)
        for name, shape in shapes.items()
      },
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    problems = self.make(self.builder_config).problems()
    return {split: self._generate_examples(problems[split]) for split in SPLITS}

  def _generate_examples(self, problems):
    features = self.make(self.builder_config).features
    for key, problem in enumerate(problems):
      row = {"prompt": problem.prompt, "problem_class": problem.problem_class}
      yield key, {**row, **features(problem)}


class Dyck(_SynLogic):
  """See `data.dyck`; "two", words of 16 brackets that lack up to six."""

  make = staticmethod(synlogic.dyck)


class DyckErrors(_SynLogic):
  """See `data.dyck_errors`; "two", words of 16 brackets."""

  make = staticmethod(synlogic.dyck_errors)


class BooleanExpressions(_SynLogic):
  """See `data.boolean_expressions`; "four" options and "six", nested deeper."""

  make = staticmethod(synlogic.boolean_expressions)


class MathPath(_SynLogic):
  """See `data.math_path`; "half", "all" and "nine" digits."""

  make = staticmethod(synlogic.math_path)


def _info(builder, **answer_features) -> tfds.core.DatasetInfo:
  return tfds.core.DatasetInfo(
    builder=builder,
    features=tfds.features.FeaturesDict(
      {
        "prompt": tfds.features.Text(),
        "problem_class": tfds.features.Text(),
        # Completions worth imitating, one a line: a list feature costs more
        # to read than splitting its text.
        "demonstrations": tfds.features.Text(),
        **answer_features,
      }
    ),
  )


_BUILDERS = {
  "boolean_expressions": BooleanExpressions,
  "countdown": Countdown,
  "dyck": Dyck,
  "dyck_errors": DyckErrors,
  "math_path": MathPath,
  "random_calculation": RandomCalculation,
}
# Settings of GeneratedConfig by variant.
_VARIANTS = {
  **synlogic.VARIANTS,
  "countdown": {
    "three": {},
    "mixed": {
      "number_weights": ((2, 45), (3, 10), (4, 6), (5, 9), (6, 30)),
      "num_validation": 256,
      "num_test": 256,
    },
    "doubt": {"number_weights": ((3, 1), (4, 1)), "most_doubts": 2},
    "doubt_three": {"most_doubts": 2},
    "doubt_four": {"number_weights": ((4, 1),), "most_doubts": 2},
    "twenty_four": {"number_weights": ((4, 1),), "target": 24},
  },
  "random_calculation": {
    "chain": {},
    **{f"level_{level:02d}": {"level": level} for level in range(21)},
  },
}


def require_known(name: str) -> None:
  """Refuses a data set that no builder makes.

  Raises:
    errors.UserError: with the names of those there are.
  """
  if name not in _BUILDERS:
    raise errors.UserError(
      f"config.data.name is {name!r}: choose one of {sorted(_BUILDERS)}; the"
      " data of papers' own runs cannot be read yet"
    )


def rows(
  name: str, variant: str, seed: int, data_dir: pathlib.Path
) -> dict[str, list[dict]]:
  """Every row by split; builds the data set on first use.

  Args:
    name: of a builder, a key of `_BUILDERS`.
    variant: one of the builder's variants.
    seed: see GeneratedConfig.
    data_dir: where the files lie, or will.

  Returns:
    {split: [{feature: value}]} with text as str.

  Raises:
    errors.UserError: if name or variant is unknown.
  """
  require_known(name)
  if variant not in _VARIANTS[name]:
    raise errors.UserError(
      f"config.data.variant is {variant!r}: {name} has"
      f" {', '.join(_VARIANTS[name])}"
    )
  with _quiet():
    builder = _BUILDERS[name](
      data_dir=str(data_dir),
      # The default, tfrecord, needs TensorFlow; parquet loses rows.
      file_format="array_record",
      config=GeneratedConfig(
        name=f"{variant}_seed{seed}", seed=seed, **_VARIANTS[name][variant]
      ),
    )
    builder.download_and_prepare()
  return {split: _read(builder, split) for split in SPLITS}


def published_rows(name: str, split: str) -> Iterator[dict]:
  """Rows of a data set of TensorFlow Datasets, text as str.

  Args:
    name: folder of a prepared data set, such as "data/gsm8k/1.0.0"; or a name
      in its catalogue, which is downloaded and prepared on first use.
    split: of the data set.

  Raises:
    errors.UserError: if there is no such data set or split.
  """
  try:
    with _quiet():
      if pathlib.Path(name).is_dir():
        source = tfds.builder_from_directory(name).as_data_source(split=split)
      else:
        source = tfds.data_source(name, split=split)
  # What the library raises depends on what it tried: names, network, files.
  except Exception as error:
    reason = " ".join(str(error).split())[:200]
    raise errors.UserError(
      f"tfds:{name}:{split} cannot be read ({reason}): name a data set of"
      " TensorFlow Datasets and its split, or the folder of a prepared one in"
      " array_record files"
    ) from error
  for row in source:
    yield _decoded(row)


def _decoded(value: Any) -> Any:
  """Bytes as text, all the way down."""
  if isinstance(value, dict):
    return {name: _decoded(x) for name, x in value.items()}
  if isinstance(value, np.generic):
    value = value.item()
  return value.decode() if isinstance(value, bytes) else value


@contextlib.contextmanager
def _quiet():
  """Keeps the library's bars and notices out of our progress line."""
  tfds.disable_progress_bar()
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)


def _read(builder, split: str) -> list[dict]:
  source = builder.as_data_source(split=split)
  text = lambda value: value.decode() if isinstance(value, bytes) else value
  return [
    {feature: text(value) for feature, value in row.items()}
    for row in source.__getitems__(list(range(len(source))))
  ]
