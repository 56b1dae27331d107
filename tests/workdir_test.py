"""Whose folder it is: resumed by its own run, refused to every other."""

import os
import subprocess
import sys

import pytest

from rlvr_jax import errors
from rlvr_jax import workdir

_CONFIG = {"seed": 0, "num_steps": 5, "data": {"name": "x", "order": (1, 2)}}


def _claim(folder, config=None):
  with workdir.claimed(folder, config or _CONFIG):
    pass


def _started(folder):
  _claim(folder)
  (folder / workdir.CHECKPOINTS).mkdir()


def test_a_new_folder_is_made_and_remembers_its_config(tmp_path):
  folder = tmp_path / "a" / "b"
  _claim(folder)
  assert workdir.read_config(folder)["data"] == {"name": "x", "order": [1, 2]}


def test_the_same_run_may_go_on(tmp_path):
  folder = tmp_path / "run"
  _started(folder)
  _claim(folder)


def test_more_steps_or_another_mesh_are_the_same_run(tmp_path):
  folder = tmp_path / "run"
  _started(folder)
  _claim(folder, _CONFIG | {"num_steps": 9, "mesh": {"data": 2}})
  assert workdir.read_config(folder)["num_steps"] == 9


def test_another_config_is_refused_by_key_and_values(tmp_path):
  folder = tmp_path / "run"
  _started(folder)
  other = _CONFIG | {"data": {"name": "y", "order": (1, 2)}}
  with pytest.raises(errors.UserError, match="config.data.name = 'x', not 'y'"):
    _claim(folder, other)
  assert workdir.read_config(folder)["data"]["name"] == "x"


def test_a_start_that_came_to_nothing_binds_nobody(tmp_path):
  folder = tmp_path / "run"
  _claim(folder)
  _claim(folder, _CONFIG | {"seed": 1})
  assert workdir.read_config(folder)["seed"] == 1


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
  (tmp_path / "thesis.tex").write_text("x")
  with pytest.raises(errors.UserError, match="holds other files and no run"):
    _claim(tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(tmp_path):
  (tmp_path / "run").write_text("x")
  with pytest.raises(errors.UserError, match="cannot be written"):
    _claim(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
  (tmp_path / "run").mkdir(mode=0o500)
  with pytest.raises(errors.UserError, match="cannot be written"):
    _claim(tmp_path / "run")


def test_a_folder_in_use_is_refused(tmp_path):
  folder = tmp_path / "run"
  program = (
    "import pathlib\n"
    "from rlvr_jax import errors, workdir\n"
    "try:\n"
    f"  with workdir.claimed(pathlib.Path({str(folder)!r}), {_CONFIG!r}):\n"
    "    print('claimed')\n"
    "except errors.UserError as error:\n"
    "  print(error)\n"
  )

  def other_process():
    return subprocess.run(
      [sys.executable, "-c", program],
      capture_output=True,
      text=True,
      timeout=60,
      check=True,
    ).stdout

  with workdir.claimed(folder, _CONFIG):
    assert "is in use by another process" in other_process()
  assert other_process() == "claimed\n"


def test_a_folder_without_a_run_has_no_config(tmp_path):
  with pytest.raises(errors.UserError, match="holds no run"):
    workdir.read_config(tmp_path)


def test_a_damaged_config_is_refused(tmp_path):
  (tmp_path / workdir.CONFIG).write_text("{")
  with pytest.raises(errors.UserError, match="is not JSON"):
    workdir.read_config(tmp_path)
