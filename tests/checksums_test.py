"""Sums of files."""

import zlib

from rlvr_jax import checksums


def test_every_file_of_a_folder_has_a_sum(tmp_path):
  (tmp_path / "inner").mkdir()
  # More than one block.
  large = bytes(range(256)) * 5000
  (tmp_path / "inner" / "large").write_bytes(large)
  (tmp_path / "empty").write_bytes(b"")
  assert checksums.of_folder(tmp_path) == {
    "empty": 0,
    "inner/large": zlib.crc32(large),
  }
