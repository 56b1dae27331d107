"""Which problems of files are trained on and which are held out.

A problem's split is a function of its question alone, so that rows added to a
file move no other; whatever was held out is looked for among the problems to
train on.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import hashlib
import itertools
import os.path
from typing import NamedTuple
import unicodedata

from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.data import file_sets
from rlvr_jax.data import readers
from rlvr_jax.data import schemas

OVERLAPS = ("error", "drop", "report")


@dataclasses.dataclass(frozen=True)
class FilesConfig:
  """Problems of a run that come from files.

  Example: FilesConfig(file_sets.FileSet(("data/math.jsonl",)), test_frac=0.1).
  """

  # Problems to train on.
  train: file_sets.FileSet
  # Held-out problems, from files of their own ...
  validation: file_sets.FileSet | None = None
  test: file_sets.FileSet | None = None
  # ... or a share of those in `train`.
  validation_frac: float = 0.0
  test_frac: float = 0.0
  # What becomes of a problem to train on that is held out as well: "error"
  # refuses the files, "drop" trains without it, "report" only counts it.
  overlap: str = "error"
  # Questions that share so many words in a row count as the same one, 13 in
  # many reports; 0 compares whole questions alone.
  overlap_words: int = 0

  def __post_init__(self):
    settings.require(
      self.overlap in OVERLAPS,
      f"config.data.files.overlap is {self.overlap!r}:"
      f" {names.did_you_mean(self.overlap, OVERLAPS)}",
    )
    for split in ("validation", "test"):
      share = getattr(self, f"{split}_frac")
      settings.require(
        not (share and getattr(self, split)),
        f"config.data.files has files for {split} and a {split}_frac of"
        f" {share}: give one of the two",
      )
      settings.require(
        0 <= share < 1,
        f"config.data.files.{split}_frac is {share}: it is a share in [0, 1)",
      )
    held_out = self.validation_frac + self.test_frac
    settings.require(
      held_out < 1,
      f"config.data.files holds out a share of {held_out}: leave some to train"
      " on",
    )


class Splits(NamedTuple):
  """Problems by split, in the order of their files.

  Attributes:
    train: problems to train on.
    validation: problems that tune a run; perhaps none.
    test: held-out problems; perhaps none.
    counts: what was read and left out, by "split/count"; see `file_sets.Found`.
      "overlap" are problems to train on that are held out as well.
    examples: for counts above 0, a sentence about the first.
  """

  train: tuple[schemas.Problem, ...]
  validation: tuple[schemas.Problem, ...]
  test: tuple[schemas.Problem, ...]
  counts: dict[str, int]
  examples: dict[str, str]


def load(config: FilesConfig, seed: int) -> Splits:
  """Reads and splits the problems of a run.

  Args:
    config: which files.
    seed: decides what is held out of files to train on.

  Raises:
    errors.UserError: if a file or row cannot be read, nothing is left to train
      on, or problems to train on are held out as well and may not be.
  """
  found = {
    name: file_sets.read(files)
    for name in ("train", "validation", "test")
    if (files := getattr(config, name))
  }
  counts = {f"{s}/{n}": x for s in found for n, x in found[s].counts.items()}
  examples = {
    f"{s}/{n}": x for s in found for n, x in found[s].examples.items()
  }
  parts = split(
    found["train"].problems,
    {"test": config.test_frac, "validation": config.validation_frac},
    seed,
  )
  parts |= {s: found[s].problems for s in found if s != "train"}
  pairs = overlap(
    parts["train"], (*parts["validation"], *parts["test"]), config.overlap_words
  )
  counts["overlap"] = len(pairs)
  if pairs:
    one, other = next(iter(pairs.items()))
    said = f"{one.source} is {other.source}, {readers.shortened(one.question)}"
    examples["overlap"] = said
    settings.require(
      config.overlap != "error",
      f"{len(pairs)} of {len(parts['train'])} problems to train on are held out"
      f" as well ({said}): set config.data.files.overlap to 'drop' to train"
      " without them",
    )
  if config.overlap == "drop":
    parts["train"] = tuple(x for x in parts["train"] if x not in pairs)
  settings.require(
    bool(parts["train"]),
    "no problem of config.data.files is left to train on: hold out fewer",
  )
  return Splits(**parts, counts=counts, examples=examples)


def split(
  problems: Iterable[schemas.Problem], shares: Mapping[str, float], seed: int
) -> dict[str, tuple[schemas.Problem, ...]]:
  """Problems by split: those named in `shares`, and "train" for the rest.

  Where a problem goes is a function of the seed and its question alone, but
  for spaces and for upper and lower case.

  Args:
    problems: in any order, which each split keeps.
    shares: of each split but "train", as a probability.
    seed: of the draw.
  """
  parts: dict[str, list[schemas.Problem]] = {s: [] for s in (*shares, "train")}
  for problem in problems:
    text = f"split {seed} {normalized(problem.question)}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    bounds = zip(shares, itertools.accumulate(shares.values()), strict=True)
    name = next((name for name, bound in bounds if place < bound), "train")
    parts[name].append(problem)
  return {name: tuple(part) for name, part in parts.items()}


def normalized(text: str) -> str:
  """A text without upper case, runs of spaces and variants of letters."""
  return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def overlap(
  train: Sequence[schemas.Problem],
  held_out: Sequence[schemas.Problem],
  words: int = 0,
) -> dict[schemas.Problem, schemas.Problem]:
  """Problems to train on that are held out as well.

  Two questions are the same if they are equal when normalized, or if they
  share so many words in a row. Words that all questions of a side begin or end
  with, an instruction, are no part of that second comparison.

  Args:
    train: problems to train on.
    held_out: problems that are not to be among them.
    words: length of a shared passage; 0 compares whole questions alone.

  Returns:
    The held-out problem of each that was found, in the order of `train`.
  """
  whole = {normalized(x.question): x for x in reversed(held_out)}
  passages = {}
  if words:
    for problem, text in reversed(_without_frame(held_out)):
      passages |= dict.fromkeys(_passages(text, words), problem)
  found = {}
  for problem, text in (
    _without_frame(train) if words else ((x, ()) for x in train)
  ):
    match = whole.get(normalized(problem.question))
    if not match and words:
      hits = (passages.get(p) for p in _passages(text, words))
      match = next(filter(None, hits), None)
    if match:
      found[problem] = match
  return found


def _passages(text: Sequence[str], length: int):
  """All runs of so many words."""
  return (
    tuple(text[start : start + length])
    for start in range(len(text) - length + 1)
  )


def _without_frame(problems: Sequence[schemas.Problem]):
  """Each problem with its words, less those that all begin or end with."""
  texts = [normalized(problem.question).split() for problem in problems]
  before = after = 0
  if len(set(map(tuple, texts))) > 1:
    before = len(os.path.commonprefix(texts))
    after = len(os.path.commonprefix([text[::-1] for text in texts]))
  return [
    (problem, text[before : len(text) - after])
    for problem, text in zip(problems, texts, strict=True)
  ]
