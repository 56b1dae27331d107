"""Rows of files: JSON lines, JSON lists and Parquet, one row at a time.

The only importer of pyarrow.
"""

from collections.abc import Iterator, Sequence
import gzip
import importlib
import json
import pathlib
from typing import Any
import zlib

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import settings

# Rows of a Parquet file that are in memory at a time.
_BATCH_ROWS = 4096


def read(
  path: str | pathlib.Path, keys: Sequence[str] = ()
) -> Iterator[tuple[str, dict]]:
  """The rows of a file, one at a time.

  Args:
    path: .jsonl, .json or .parquet, the first two perhaps with .gz.
    keys: columns of a Parquet file to read, () for all; of "a.b" it is a.
      The rows of other files have all of their keys in any case.

  Yields:
    "file:line" and the row, by name; lines and rows count from 1.

  Raises:
    errors.UserError: if the file is missing or damaged, or a row is no object.
  """
  path = pathlib.Path(path)
  kind = path.name.removesuffix(".gz").rpartition(".")[2]
  reader = {"jsonl": _read_lines, "json": _read_list}.get(kind)
  if path.suffix == ".parquet":
    reader = _read_parquet
  settings.require(
    reader is not None,
    f"{path} is of no known kind: name a .jsonl, .jsonl.gz, .json or .parquet"
    " file",
  )
  settings.require(path.is_file(), f"there is no file {path}: mend the path")
  for number, row in reader(path, keys):
    source = f"{path}:{number}"
    if not isinstance(row, dict):
      raise errors.UserError(
        f"{source} is {shortened(row)}, no JSON object: write a row as"
        ' {"question": ..., "answer": ...}'
      )
    yield source, row


def _read_lines(path: pathlib.Path, keys) -> Iterator[tuple[int, Any]]:
  del keys
  number = 0
  try:
    with _opened(path) as lines:
      for number, line in enumerate(lines, start=1):
        if line.strip():
          yield number, json.loads(line)
  except json.JSONDecodeError as error:
    raise errors.UserError(
      f"{path}:{number} is not JSON ({error.msg} at character {error.pos + 1}):"
      " write one object on each line"
    ) from error
  except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
    raise _unreadable(path, error) from error


def _read_list(path: pathlib.Path, keys) -> Iterator[tuple[int, Any]]:
  del keys
  try:
    with _opened(path) as file:
      rows = json.load(file)
  except json.JSONDecodeError as error:
    raise errors.UserError(
      f"{path} is not JSON ({error.msg} in line {error.lineno}): write one list"
      " of objects, or name a file of JSON lines .jsonl"
    ) from error
  except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
    raise _unreadable(path, error) from error
  settings.require(
    isinstance(rows, list),
    f"{path} holds {shortened(rows)}, no list: write one list of objects",
  )
  yield from enumerate(rows, start=1)


def _opened(path: pathlib.Path):
  # Some editors begin a file with a byte-order mark.
  if path.suffix == ".gz":
    return gzip.open(path, "rt", encoding="utf-8-sig")
  return open(path, encoding="utf-8-sig")


def _unreadable(path: pathlib.Path, error: Exception) -> errors.UserError:
  return errors.UserError(
    f"{path} cannot be read ({error}): make it again, as UTF-8, with .gz in its"
    " name only if it is compressed"
  )


def _read_parquet(path: pathlib.Path, keys) -> Iterator[tuple[int, Any]]:
  try:
    arrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
  except ImportError as error:
    raise errors.UserError(
      f"reading {path} needs the package pyarrow: pip install pyarrow"
    ) from error
  try:
    file = parquet.ParquetFile(path)
    columns = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    there = file.schema_arrow.names
    for column in columns:
      settings.require(
        column in there,
        f"{path} has no column {column!r}: {names.did_you_mean(column, there)}",
      )
    number = 0
    for batch in file.iter_batches(_BATCH_ROWS, columns=columns or None):
      for row in batch.to_pylist():
        number += 1
        yield number, row
  except (arrow.ArrowException, OSError) as error:
    reason = " ".join(str(error).split())
    raise errors.UserError(
      f"{path} is no Parquet file that can be read ({reason}): make it again"
    ) from error


def at(row: Any, key: str) -> Any:
  """The value of "a.b" in a row; None if there is none."""
  for part in key.split("."):
    row = row.get(part) if isinstance(row, dict) else None
  return row


def shortened(value: Any) -> str:
  """A value as it would be typed in, its end cut off where it is long."""
  text = repr(value)
  return text if len(text) <= 80 else f"{text[:77]}..."
