"""The record of a run survives kills and never repeats a step."""

import json

import pytest

from rlvr_jax import errors
from rlvr_jax.metrics import writers


def _steps(path):
  return [line["step"] for line in writers.read_lines(path)]


def _write(path, steps, last_step=-1):
  with writers.JsonLines(path, last_step) as file:
    for step in steps:
      file.write({"step": step, "x": step / 3})


def test_lines_are_read_back(tmp_path):
  path = tmp_path / "a.jsonl"
  _write(path, [0, 1, 2])
  assert _steps(path) == [0, 1, 2]
  assert writers.read_lines(path)[1]["x"] == 0.3333333


def test_going_on_drops_later_steps(tmp_path):
  path = tmp_path / "a.jsonl"
  _write(path, [0, 1, 2, 3, 4])
  _write(path, [3, 4], last_step=2)
  assert _steps(path) == [0, 1, 2, 3, 4]


def test_starting_anew_drops_everything(tmp_path):
  path = tmp_path / "a.jsonl"
  _write(path, [0, 1])
  _write(path, [0])
  assert _steps(path) == [0]


def test_going_on_changes_no_byte_of_what_is_kept(tmp_path):
  path = tmp_path / "a.jsonl"
  _write(path, [0, 1, 2])
  before = path.read_bytes()
  _write(path, [], last_step=2)
  assert path.read_bytes() == before


def test_a_half_written_last_line_is_dropped(tmp_path):
  path = tmp_path / "a.jsonl"
  _write(path, [0, 1])
  with open(path, "a", encoding="utf-8") as file:
    file.write('{"step": 2, "x"')
  assert _steps(path) == [0, 1]


def test_a_damaged_line_is_refused_by_number(tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_text('{"step": 0}\nnot json\n{"step": 2}\n')
  with pytest.raises(errors.UserError, match="line 2 is not JSON"):
    writers.read_lines(path)


def test_lines_reach_the_file_at_once(tmp_path):
  path = tmp_path / "a.jsonl"
  with writers.JsonLines(path, -1) as file:
    file.write({"step": 0})
    assert _steps(path) == [0]


def test_what_is_no_number_becomes_null(tmp_path):
  path = tmp_path / "a.jsonl"
  with writers.JsonLines(path, -1) as file:
    file.write({"step": 0, "x": float("nan"), "y": float("inf")})
  assert json.loads(path.read_text()) == {"step": 0, "x": None, "y": None}


def test_write_json_leaves_no_temporary_file(tmp_path):
  writers.write_json(tmp_path / "a.json", {"b": 1})
  assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
  assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
