"""The record of a run survives kills and never repeats a step."""

import json
import subprocess
import sys

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


_ON_A_FULL_DISK = """
import pathlib, resource, signal, sys
from rlvr_jax import errors
from rlvr_jax.metrics import writers

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = pathlib.Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
  with writers.JsonLines(path, -1) as file:
    for step in range(100):
      file.write({"step": step})
except errors.UserError as error:
  print(error)
"""


def test_a_full_disk_is_one_sentence_and_whole_lines_stay(tmp_path):
  path = tmp_path / "metrics.jsonl"
  done = subprocess.run(
    [sys.executable, "-c", _ON_A_FULL_DISK, str(path)],
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  assert f"{path} could not be written (File too large)" in done.stdout
  assert "goes on from the last checkpoint" in done.stdout
  steps = [line["step"] for line in writers.read_lines(path)]
  assert steps == list(range(len(steps))) and len(steps) > 5
