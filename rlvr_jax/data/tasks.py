"""A task: prompts by split, the vocabulary they are written in, a verifier."""

import dataclasses
import pathlib
from typing import NamedTuple

from rlvr_jax.data import builders
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import vocabulary as vocabulary_lib


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which problems a run sees.

  Example: DataConfig("countdown", "three", "countdown", 9).
  """

  # Builder in data/builders.py.
  name: str
  # Variant of the builder.
  variant: str
  # Function in rewards/ that judges completions.
  verifier: str
  # Length of the prompt bucket.
  prompt_tokens: int
  # Decides the split; apart from the run's seed, so that all seeds of an
  # experiment are measured on the same held-out problems.
  split_seed: int = 0


class Task(NamedTuple):
  """Everything that a run needs of its data.

  Attributes:
    vocabulary: token ids and texts.
    train: prompts to train on.
    validation: prompts that the warm start is stopped by.
    test: held-out prompts; only the reported figures see them.
  """

  vocabulary: vocabulary_lib.Vocabulary
  train: prompts_lib.PromptSet
  validation: prompts_lib.PromptSet
  test: prompts_lib.PromptSet


# Features that each device verifier reads, by builder.
_ANSWERS = {
  "countdown": ("numbers", "target"),
  "random_calculation": ("answer",),
}


def load_task(
  config: DataConfig, completion_tokens: int, data_dir: pathlib.Path
) -> Task:
  """Builds the data set if need be, reads it and encodes it.

  Args:
    config: which problems.
    completion_tokens: length of the completion bucket; demonstrations and
      their end token have to fit.
    data_dir: where the data set's files lie, or will.

  Raises:
    errors.UserError: if a name is unknown or a text does not fit its bucket.
  """
  rows = builders.rows(config.name, config.variant, config.split_seed, data_dir)
  vocabulary = vocabulary_lib.ARITHMETIC
  encode = lambda split: prompts_lib.prompt_set(
    rows[split],
    vocabulary,
    config.prompt_tokens,
    completion_tokens,
    _ANSWERS[config.name],
  )
  return Task(vocabulary, encode("train"), encode("validation"), encode("test"))
