"""A copy of the experiment files is whole, and never written over."""

import pathlib

import pytest

from rlvr_jax import copy_experiments
from rlvr_jax import errors

_SOURCE = pathlib.Path("experiments")


def test_a_copy_has_every_file(tmp_path):
  found = copy_experiments.copy(tmp_path / "my_lab")
  assert found == tmp_path / "my_lab" / "experiments"
  wanted = [*_SOURCE.glob("*.py"), *_SOURCE.glob("launch/*")]
  assert len(wanted) > 20
  for path in wanted:
    copied = found / path.relative_to(_SOURCE)
    assert copied.read_bytes() == path.read_bytes()
    # Scripts stay executable.
    assert copied.stat().st_mode == path.stat().st_mode
  assert not (found / "colab").exists()


def test_what_is_there_is_not_written_over(tmp_path):
  copy_experiments.copy(tmp_path)
  (tmp_path / "experiments" / "grpo.py").write_text("mine")
  with pytest.raises(errors.UserError, match="is there already"):
    copy_experiments.copy(tmp_path)
  assert (tmp_path / "experiments" / "grpo.py").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.UserError, match="cannot be written"):
    copy_experiments.copy(tmp_path / "file")
