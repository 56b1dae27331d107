"""The record of a run: one JSON line a step, safe against any kill."""

from collections.abc import Iterator
import contextlib
import json
import math
import os
import pathlib
from typing import Any

from rlvr_jax import errors


class JsonLines:
  """An append-only file of JSON objects that each hold a "step".

  Reopening after a kill drops a half-written last line and every line past
  the step that the run goes on from, so that steps are neither lost nor
  written twice.
  """

  def __init__(self, path: pathlib.Path, last_step: int):
    """Opens the file for appending after `last_step`; -1 starts anew."""
    self._path = path
    kept = [line for line in read_lines(path) if line["step"] <= last_step]
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
      file.writelines(_dump(line) for line in kept)
      _to_disk(file)
    os.replace(temporary, path)
    self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

  def __enter__(self) -> "JsonLines":
    return self

  def __exit__(self, *error) -> None:
    self.close()

  def close(self) -> None:
    """Closes the file; what could not be written before is given up."""
    with contextlib.suppress(OSError):
      self._file.close()

  def write(self, line: dict[str, Any]) -> None:
    """Appends one object; it survives the process from here on.

    Raises:
      errors.UserError: if the disk does not take it.
    """
    with self._told():
      self._file.write(_dump(line))
      self._file.flush()

  def sync(self) -> None:
    """Makes all lines survive the machine too; call before a checkpoint.

    Raises:
      errors.UserError: as `write`.
    """
    with self._told():
      _to_disk(self._file)

  @contextlib.contextmanager
  def _told(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      raise errors.UserError(
        f"{self._path} could not be written ({error.strerror}): free some space"
        " and start the same command again, which goes on from the last"
        " checkpoint"
      ) from error


class NoLines:
  """In the place of `JsonLines` where another process writes the record."""

  def __enter__(self) -> "NoLines":
    return self

  def __exit__(self, *error) -> None:
    pass

  def close(self) -> None:
    pass

  def write(self, line: dict[str, Any]) -> None:
    pass

  def sync(self) -> None:
    pass


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """All complete lines; [] if there is no file.

  Raises:
    errors.UserError: if a line before the last is not JSON.
  """
  if not path.exists():
    return []
  lines = path.read_bytes().split(b"\n")
  parsed = []
  # What follows the last newline was cut off by a kill.
  for number, line in enumerate(lines[:-1], start=1):
    try:
      parsed.append(json.loads(line))
    except ValueError as error:
      raise errors.UserError(
        f"{path} line {number} is not JSON: the file was damaged or edited;"
        " move it away to start the record anew"
      ) from error
  return parsed


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a whole JSON file or, if killed, leaves the old one."""
  temporary = path.with_name(path.name + ".tmp")
  with open(temporary, "w", encoding="utf-8") as file:
    json.dump(value, file, indent=2)
    file.write("\n")
    _to_disk(file)
  os.replace(temporary, path)


def _to_disk(file) -> None:
  file.flush()
  os.fsync(file.fileno())


def _dump(line: dict[str, Any]) -> str:
  return json.dumps({k: _short(v) for k, v in line.items()}) + "\n"


def _short(value: Any) -> Any:
  """Seven digits are all a float32 holds; NaN is not JSON, null is."""
  if not isinstance(value, float):
    return value
  return float(f"{value:.7g}") if math.isfinite(value) else None
