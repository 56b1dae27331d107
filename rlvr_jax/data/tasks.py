"""A task: prompts by split, the vocabulary they are written in, a verifier."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import NamedTuple

from rlvr_jax import settings
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
  # Train on the first so many prompts, also in a warm start of the run's own;
  # 0 takes all.
  num_train_prompts: int = 0


@dataclasses.dataclass(frozen=True)
class OtherDomainConfig:
  """Problems of another kind; their verifier and buckets are those of data.

  Example: OtherDomainConfig("countdown", "doubt_four").
  """

  # Builder in data/builders.py.
  name: str
  # Variant of the builder.
  variant: str


class Task(NamedTuple):
  """Everything that a run needs of its data.

  Attributes:
    vocabulary: token ids and texts.
    train: prompts to train on.
    validation: prompts that the warm start is stopped by.
    test: held-out prompts; only the reported figures see them.
    out_of_domain: held-out prompts of another kind, where there are such.
  """

  vocabulary: vocabulary_lib.Vocabulary
  train: prompts_lib.PromptSet
  validation: prompts_lib.PromptSet
  test: prompts_lib.PromptSet
  out_of_domain: prompts_lib.PromptSet | None = None


# Features that each device verifier reads, by builder.
_ANSWERS = {
  "countdown": ("numbers", "target"),
  "random_calculation": ("answer",),
}


def _first_demonstration(row: dict) -> str:
  return row["demonstrations"].split("\n")[0]


# What a teacher may be shown of a row, by builder and name. A Countdown answer
# is the equation that reaches the target: the target itself is in the prompt.
_HINTS = {
  "countdown": {
    "gold_solution": _first_demonstration,
    "gold_answer": lambda row: _first_demonstration(row).split(",")[-1],
  },
  "random_calculation": {
    "gold_solution": _first_demonstration,
    "gold_answer": lambda row: str(row["answer"]),
  },
}


def load_task(
  config: DataConfig,
  completion_tokens: int,
  data_dir: pathlib.Path,
  hints: Sequence[str] = (),
  out_of_domain: OtherDomainConfig | None = None,
) -> Task:
  """Builds the data set if need be, reads it and encodes it.

  Args:
    config: which problems.
    completion_tokens: length of the completion bucket; demonstrations and
      their end token have to fit.
    data_dir: where the data set's files lie, or will.
    hints: what a teacher is shown, names of `demonstrations.GOLD`.
    out_of_domain: further problems, only to be evaluated on.

  Raises:
    errors.UserError: if a name is unknown or a text does not fit its bucket.
  """
  vocabulary = vocabulary_lib.ARITHMETIC

  def encode(config: DataConfig, *splits: str) -> list[prompts_lib.PromptSet]:
    rows = builders.rows(
      config.name, config.variant, config.split_seed, data_dir
    )
    number = config.num_train_prompts or len(rows["train"])
    settings.require(
      0 < number <= len(rows["train"]),
      f"config.data.num_train_prompts is {number}, but there are"
      f" {len(rows['train'])} training prompts: set 0 for all of them",
    )
    rows["train"] = rows["train"][:number]
    return [
      prompts_lib.prompt_set(
        rows[split],
        vocabulary,
        config.prompt_tokens,
        completion_tokens,
        _ANSWERS[config.name],
        {name: _HINTS[config.name][name] for name in hints},
      )
      for split in splits
    ]

  sets = encode(config, *builders.SPLITS)
  if out_of_domain:
    further = dataclasses.replace(
      config, **dataclasses.asdict(out_of_domain), num_train_prompts=0
    )
    sets += encode(further, "test")
  return Task(vocabulary, *sets)
