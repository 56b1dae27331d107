"""Runs that a bench starts."""

import pytest

from benchmarks import runs
from rlvr_jax import errors


def test_a_run_that_fails_is_told_with_its_last_line(tmp_path):
  folder = tmp_path / "run"
  folder.mkdir()
  (folder / "somebody.txt").touch()
  with pytest.raises(errors.UserError, match="holds other files") as found:
    runs.train(folder, "experiments/grpo.py:tiny", {}, tmp_path / "cache")
  assert "status 2" in str(found.value) and "run.log" in str(found.value)
  assert [x.name for x in folder.iterdir()] == ["somebody.txt"]
