"""All problems of a set of files, duplicates and unusable rows counted.

Each file is in one schema, which its first row tells unless it is given.
"""

from collections.abc import Iterator
import dataclasses
import glob
import hashlib
import itertools
import pathlib
from typing import NamedTuple

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.data import builders
from rlvr_jax.data import readers
from rlvr_jax.data import schemas

_TFDS = "tfds:"


@dataclasses.dataclass(frozen=True)
class FileSet:
  """Files of problems.

  Example: FileSet(("data/math-*.parquet",)).
  """

  # .jsonl, .json or .parquet, the first two perhaps with .gz; "*" stands for
  # any part of a name, and matches come in alphabetical order. Or
  # tfds:NAME:SPLIT, a data set of TensorFlow Datasets or a prepared folder.
  paths: tuple[str, ...]
  # One of `schemas.SCHEMAS`; "" takes that of a file's first row.
  schema: str = ""
  # Where question and answer are, if not where the schema says;
  # "reward_model.ground_truth" is a key within a key.
  prompt_key: str = ""
  answer_key: str = ""
  # Keep the first of problems with the same prompt.
  drops_duplicates: bool = True
  # Leave out rows without a question or an answer, and count them, instead of
  # refusing the file.
  drops_unusable: bool = False
  # Stop after so many problems; 0 takes all.
  max_problems: int = 0

  def __post_init__(self):
    known = schemas.SCHEMAS
    settings.require(
      not self.schema or self.schema in known,
      f"schema is {self.schema!r}: {names.did_you_mean(self.schema, known)}",
    )
    settings.require(
      self.max_problems >= 0,
      f"max_problems is {self.max_problems}: set a number of problems, or 0 for"
      " all",
    )


class Found(NamedTuple):
  """Problems with what was seen on the way.

  Attributes:
    problems: in the order of the files.
    counts: how many "rows" were read, how many "duplicates" of a prompt were
      left out, how many of those were "conflicting", with another answer than
      the one that was kept, and how many rows were "unusable".
    examples: for each count above 0 but the rows, a sentence about the first.
  """

  problems: tuple[schemas.Problem, ...]
  counts: dict[str, int]
  examples: dict[str, str]


def read(files: FileSet) -> Found:
  """Reads all problems of a set of files.

  Raises:
    errors.UserError: if a file or a row cannot be read, naming file, line and
      key; or if no problem is left.
  """
  kept: list[schemas.Problem] = []
  seen: dict[bytes, schemas.Problem] = {}
  counts = dict.fromkeys(("rows", "duplicates", "conflicting", "unusable"), 0)
  examples: dict[str, str] = {}

  def count(name: str, example: str) -> None:
    counts[name] += 1
    examples.setdefault(name, example)

  for source, row, schema in _rows(files):
    if files.max_problems and len(kept) == files.max_problems:
      break
    counts["rows"] += 1
    try:
      found = schemas.problem(row, schema, source)
    except errors.UserError as error:
      if not files.drops_unusable:
        raise
      count("unusable", str(error))
      continue
    # A digest: a file may hold every prompt a hundred times.
    key = hashlib.blake2b(repr(found.prompt).encode(), digest_size=16).digest()
    first = seen.setdefault(key, found)
    if first is found or not files.drops_duplicates:
      kept.append(found)
      continue
    count("duplicates", f"{source} has the prompt of {first.source}")
    if first.answer != found.answer:
      count(
        "conflicting",
        f"{source} has the prompt of {first.source} and the answer"
        f" {found.answer!r} instead of {first.answer!r}",
      )
  settings.require(
    bool(kept),
    f"there is no problem in {', '.join(files.paths)}: name other files",
  )
  return Found(tuple(kept), counts, examples)


def _rows(files: FileSet) -> Iterator[tuple[str, dict, schemas.Schema]]:
  """Source, row and schema of every row."""
  for path in itertools.chain.from_iterable(map(_matches, files.paths)):
    rows = _rows_of(path)
    first = next(rows, None)
    if first is None:
      continue
    source, row = first
    schema = schemas.schema_of(
      row,
      source,
      files.schema,
      prompt_key=files.prompt_key,
      answer_key=files.answer_key,
    )
    # The first row was read with all columns, of which the rest needs two.
    if path.endswith(".parquet"):
      rows = readers.read(path, (schema.prompt_key, schema.answer_key))
    else:
      rows = itertools.chain([first], rows)
    for source, row in rows:
      yield source, row, schema


def _rows_of(path: str) -> Iterator[tuple[str, dict]]:
  if not path.startswith(_TFDS):
    return readers.read(path)
  name, _, split = path.removeprefix(_TFDS).rpartition(":")
  settings.require(
    bool(name and split),
    f"{path} names no split: write tfds:NAME:SPLIT, such as tfds:gsm8k:train",
  )
  rows = enumerate(builders.published_rows(name, split), start=1)
  return ((f"{path}:{number}", row) for number, row in rows)


def _matches(pattern: str) -> list[str]:
  if pattern.startswith(_TFDS):
    return [pattern]
  if pathlib.Path(pattern).is_file():
    return [pattern]
  found = sorted(glob.glob(pattern))
  settings.require(
    bool(found),
    f"there is no file {pattern}: mend the path, which is taken from the folder"
    " that the program was started in",
  )
  return found
