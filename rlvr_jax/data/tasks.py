"""A task: prompts by split, the vocabulary they are written in, a verifier."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import types
from typing import NamedTuple
import zlib

import jax
import numpy as np

from rlvr_jax import hosts
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.data import builders
from rlvr_jax.data import problems as problems_lib
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import splits as splits_lib
from rlvr_jax.data import texts
from rlvr_jax.data import tokenizer as tokenizer_lib
from rlvr_jax.data import vocabulary as vocabulary_lib

UNREAD_GOLDS = ("error", "mask")


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
  # Problems from files instead of a builder; `name` is then what they are
  # called, and nothing is built.
  files: splits_lib.FilesConfig | None = None
  # How such a problem is put to the model.
  prompt: problems_lib.PromptConfig = problems_lib.PromptConfig()
  # What becomes of a problem from a file whose answer the verifier cannot
  # read: "error" refuses it before the run, "mask" leaves its responses out of
  # the loss.
  unread_golds: str = "error"

  def __post_init__(self):
    settings.require(
      self.unread_golds in UNREAD_GOLDS,
      f"config.data.unread_golds is {self.unread_golds!r}:"
      f" {names.did_you_mean(self.unread_golds, UNREAD_GOLDS)}",
    )


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
    validation: prompts that the warm start is stopped by; None where files
      have none.
    test: held-out prompts; only the reported figures see them.
    out_of_domain: held-out prompts of another kind, where there are such.
    notes: sentences for the user about what was left out.
    sources: file and line of each prompt, by split, where they are from files.
    prompt_tail: ids that every prompt ends with where a chat hands over to the
      assistant; None if they end in several ways.
  """

  vocabulary: vocabulary_lib.Vocabulary | tokenizer_lib.Tokenizer
  train: prompts_lib.PromptSet
  validation: prompts_lib.PromptSet | None
  test: prompts_lib.PromptSet
  out_of_domain: prompts_lib.PromptSet | None = None
  notes: tuple[str, ...] = ()
  sources: Mapping[str, tuple[str, ...]] = types.MappingProxyType({})
  prompt_tail: tuple[int, ...] | None = ()


# Vocabularies of the builders that do not write `vocabulary.ARITHMETIC`.
_VOCABULARIES = {
  "boolean_expressions": vocabulary_lib.LOGIC,
  "math_path": vocabulary_lib.LOGIC,
}
# Features that each device verifier reads, by builder.
_ANSWERS = {
  "boolean_expressions": ("true_options",),
  "countdown": ("numbers", "target"),
  "dyck": ("closing",),
  "dyck_errors": ("answer",),
  "math_path": ("template", "target"),
  "random_calculation": ("answer",),
}


def _first_demonstration(row: dict) -> str:
  return row["demonstrations"].split("\n")[0]


# What a teacher may be shown of a row, by builder and name. A Countdown answer
# is the equation that reaches the target: the target itself is in the prompt.
_HINTS = {
  "boolean_expressions": {
    "gold_solution": _first_demonstration,
    "gold_answer": lambda row: _first_demonstration(row).removeprefix("#"),
  },
  "countdown": {
    "gold_solution": _first_demonstration,
    "gold_answer": lambda row: _first_demonstration(row).split(",")[-1],
  },
  "dyck": {
    "gold_solution": _first_demonstration,
    "gold_answer": _first_demonstration,
  },
  "dyck_errors": {
    "gold_solution": _first_demonstration,
    "gold_answer": lambda row: str(row["answer"]),
  },
  "math_path": {
    "gold_solution": _first_demonstration,
    "gold_answer": lambda row: _first_demonstration(row).removeprefix("#"),
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
  tokenizer: tokenizer_lib.Tokenizer | None = None,
) -> Task:
  """Builds the data set if need be, reads it and encodes it.

  Args:
    config: which problems.
    completion_tokens: length of the completion bucket; demonstrations and
      their end token have to fit.
    data_dir: where the data set's files lie, or will.
    hints: what a teacher is shown, names of `demonstrations.GOLD`.
    out_of_domain: further problems, only to be evaluated on.
    tokenizer: writes problems from files.

  Raises:
    errors.UserError: if a name is unknown, a file cannot be read or a text
      does not fit its bucket.
  """
  if config.files:
    settings.require(
      not hints and not out_of_domain,
      f"hints {tuple(hints)} and out_of_domain {out_of_domain} are of builders:"
      " problems from files have neither",
    )
    return _from_files(config, completion_tokens, tokenizer)
  vocabulary = _VOCABULARIES.get(config.name, vocabulary_lib.ARITHMETIC)

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


def check_same(task: Task) -> None:
  """Makes sure that all processes of a run have read the same data.

  Raises:
    errors.UserError: on all of them, naming the first that differs.
  """
  sums = hosts.all_texts(
    " ".join(
      str(zlib.crc32(np.ascontiguousarray(x)))
      for x in jax.tree.leaves(
        (task.train, task.validation, task.test, task.out_of_domain)
      )
    )
  )
  for number, other in enumerate(sums):
    settings.require(
      other == sums[0],
      f"process {number} has read other data than process 0: give all hosts"
      " the same files, tokenizer and version of the library",
    )


def _from_files(
  config: DataConfig,
  completion_tokens: int,
  tokenizer: tokenizer_lib.Tokenizer,
) -> Task:
  """A task whose problems are texts."""
  for name in ("train", "test"):
    files = getattr(config.files, name)
    settings.require(
      files is None or bool(files.paths),
      f"config.data.files.{name}.paths is empty: give the files of"
      f" {config.name!r}",
    )
  splits = splits_lib.load(config.files, config.split_seed)
  settings.require(
    bool(splits.test),
    "config.data.files holds no problem out: give files for test, or a"
    " test_frac",
  )
  counts = {
    name: f"{number} ({splits.examples[name]})"
    for name, number in splits.counts.items()
    if name in splits.examples
  }
  train = splits.train[: config.num_train_prompts or None]
  sets, sources = {}, {}
  tail = problems_lib.chat_tail(tokenizer, config.prompt)
  for name, part in splits._replace(train=train)._asdict().items():
    if name not in builders.SPLITS or not part:
      continue
    encoded = problems_lib.prompt_set(
      part,
      tokenizer,
      config.prompt,
      prompt_tokens=config.prompt_tokens,
      completion_tokens=completion_tokens,
    )
    if encoded.num_over_long:
      counts[f"{name}/over_long"] = str(encoded.num_over_long)
    ends = encoded.prompts.prompts.prompt_tokens[:, -len(tail or (0,)) :]
    if tail and not np.all(ends == np.array(tail)):
      tail = None
    sources[name] = encoded.sources
    answers = {texts.GOLD: texts.bytes_of(encoded.golds)}
    sets[name] = encoded.prompts.replace(
      prompts=encoded.prompts.prompts.replace(answers=answers)
    )
  return Task(
    tokenizer,
    sets["train"],
    sets.get("validation"),
    sets["test"],
    notes=tuple(f"{name}: {said}" for name, said in counts.items()),
    sources=sources,
    prompt_tail=tail,
  )
