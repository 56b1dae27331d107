"""CRC-32 of files: whether what lies on disk is what was written there."""

import pathlib
import zlib

_BLOCK = 1 << 20


def of_folder(folder: pathlib.Path) -> dict[str, int]:
  """The sum of every file below a folder, by its path within."""
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  return {str(path.relative_to(folder)): of_file(path) for path in files}


def of_file(path: pathlib.Path) -> int:
  """The sum of one file, read a block at a time."""
  crc = 0
  with open(path, "rb") as file:
    while block := file.read(_BLOCK):
      crc = zlib.crc32(block, crc)
  return crc
