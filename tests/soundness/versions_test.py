"""What a run was computed with, start by start."""

import shutil
import subprocess

import jax
import pytest

import rlvr_jax
from rlvr_jax import errors
from rlvr_jax import workdir
from rlvr_jax.soundness import versions


def _others(monkeypatch, **found):
  monkeypatch.setattr(versions, "here", lambda: found)


def test_versions_are_those_that_are_imported():
  found = versions.here()
  assert found["jax"] == jax.__version__
  assert found["rlvr_jax"] == rlvr_jax.__version__
  assert (found["backend"], found["processes"]) == ("cpu", 1)
  assert found["devices"] == jax.device_count()


def test_a_start_is_written_down_where_it_differs(tmp_path, monkeypatch):
  _others(monkeypatch, jax="1", devices=1)
  assert versions.record(tmp_path, 0) == ""
  assert versions.record(tmp_path, 20) == ""
  _others(monkeypatch, jax="2", devices=1, code="abc")
  told = versions.record(tmp_path, 40)
  assert "from step 40 on" in told
  assert "jax 1 -> 2" in told and "code none -> abc" in told
  assert "devices" not in told
  assert versions.record(tmp_path, 60) == ""
  first, second = versions.starts(tmp_path)
  assert first == (0, {"jax": "1", "devices": 1})
  assert second == (40, {"jax": "2", "devices": 1, "code": "abc"})
  assert versions.latest(tmp_path) == second[1]


def test_a_start_whose_steps_are_lost_is_forgotten(tmp_path, monkeypatch):
  _others(monkeypatch, jax="1")
  versions.record(tmp_path, 0)
  _others(monkeypatch, jax="2")
  versions.record(tmp_path, 40)
  # Its checkpoints were removed, say, and the run goes on from an older one.
  assert versions.record(tmp_path, 20)
  assert [step for step, _ in versions.starts(tmp_path)] == [0, 20]


def test_a_folder_without_any_has_none(tmp_path):
  assert versions.starts(tmp_path) == []
  assert versions.latest(tmp_path) == {}


def test_a_damaged_file_is_named(tmp_path):
  (tmp_path / workdir.VERSIONS).write_text("{\n")
  with pytest.raises(errors.UserError, match=r"versions\.jsonl line 1"):
    versions.record(tmp_path, 0)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_commit_is_that_of_the_clone(tmp_path, monkeypatch):
  def git(*arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(("git", *who, *arguments), cwd=tmp_path, check=True)

  def code():
    return versions.here().get("code", "")

  package = tmp_path / "package"
  package.mkdir()
  file = package / "__init__.py"
  file.write_text("")
  monkeypatch.setattr(rlvr_jax, "__file__", str(file))
  assert code() == ""
  git("init", "--quiet")
  # Installed into somebody's clone, which does not know of it.
  assert code() == ""
  git("add", ".")
  git("commit", "--quiet", "--message=first")
  clean = code()
  assert len(clean) == 40
  file.write_text("changed")
  assert code() == f"{clean}, changed"
