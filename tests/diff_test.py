"""Two runs, compared by their settings."""

import json
import pathlib

import pytest

from rlvr_jax import diff
from rlvr_jax import errors


def _run(folder, config):
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps(config))
  return str(folder)


def test_what_differs_is_listed_by_name():
  ours = {"seed": 0, "rollout": {"top_p": 1.0, "slots": 0}, "words": ["a"]}
  theirs = {"seed": 0, "rollout": {"top_p": 0.9}, "words": ["a"], "new": None}
  assert diff.differences(ours, theirs) == [
    ("new", "-", "None"),
    ("rollout.slots", "0", "-"),
    ("rollout.top_p", "1.0", "0.9"),
  ]
  assert diff.differences(ours, ours) == []


def test_the_program_prints_a_line_for_each(tmp_path, capsys):
  first = _run(tmp_path / "first", {"seed": 0, "rollout": {"slots": 0}})
  second = _run(tmp_path / "second", {"seed": 1, "rollout": {"slots": 0}})
  with pytest.raises(SystemExit) as ended:
    diff.main(first, second)
  assert ended.value.code == diff.STATUS_DIFFERENT
  head, line = capsys.readouterr().out.splitlines()
  assert head.split() == [first, second] and line.split() == ["seed", "0", "1"]
  diff.main(first, first)
  assert capsys.readouterr().out == "no setting and no version differs\n"


def test_versions_are_compared(tmp_path, capsys):
  folders = [_run(tmp_path / name, {"seed": 0}) for name in ("first", "second")]
  for folder, version in zip(folders, ("0.10.2", "0.11.2"), strict=True):
    line = {"step": 0, "jax": version, "python": "3.12.1"}
    (pathlib.Path(folder) / "versions.jsonl").write_text(
      json.dumps(line) + "\n"
    )
  with pytest.raises(SystemExit):
    diff.main(*folders)
  _, line = capsys.readouterr().out.splitlines()
  assert line.split() == ["versions.jax", "'0.10.2'", "'0.11.2'"]


def test_a_folder_without_a_run_is_refused(tmp_path):
  first = _run(tmp_path / "first", {})
  with pytest.raises(errors.UserError, match="holds no run"):
    diff.main(first, str(tmp_path / "nowhere"))
