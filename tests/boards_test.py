"""Boards show what the record gets, and never end a run."""

import json
import pathlib
import struct
import sys
import types

import pytest
from tensorboardX.proto import event_pb2

from rlvr_jax import boards
from rlvr_jax import errors
from rlvr_jax import workdir

_LINE = {"step": 3, "train/reward": 0.5, "none": None, "nan": float("nan")}


def _events(folder):
  """Steps and values of all scalars, in the order of the files."""
  for file in sorted(folder.glob("tensorboard/events*")):
    data = file.read_bytes()
    while data:
      # Length, its checksum, the event, its checksum.
      (length,) = struct.unpack("<Q", data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      if event.session_log.status == event_pb2.SessionLog.START:
        yield event.step, "purged", None
      for value in event.summary.value:
        yield event.step, value.tag, value.simple_value


def _run(folder):
  folder.mkdir(exist_ok=True)
  (folder / workdir.CONFIG).write_text(json.dumps({"seed": 7}))
  return folder


def test_event_files_hold_the_figures_and_hide_what_is_run_again(tmp_path):
  config = boards.BoardsConfig(tensorboard=True)
  for last_step in (-1, 2):
    shown = boards.opened(config, tmp_path, last_step)
    shown.write(_LINE)
    shown.close()
  figures = [x for x in _events(tmp_path) if x[1] != "purged"]
  assert figures == [(3, "train/reward", 0.5)] * 2
  assert (3, "purged", None) in list(_events(tmp_path))


def test_weights_and_biases_get_the_same_run_again(tmp_path, monkeypatch):
  started, logged = [], []
  run = types.SimpleNamespace(
    define_metric=lambda name, step_metric: logged.append(step_metric),
    log=logged.append,
    finish=lambda: logged.append("finished"),
  )
  fake = types.ModuleType("wandb")
  fake.init = lambda **settings: started.append(settings) or run
  fake.__spec__ = types.SimpleNamespace()
  monkeypatch.setitem(sys.modules, "wandb", fake)
  config = boards.BoardsConfig(wandb_project="rlvr")
  for last_step in (-1, 2):
    shown = boards.opened(config, _run(tmp_path / "a"), last_step)
    shown.write(_LINE)
    shown.close()
  boards.opened(config, _run(tmp_path / "b"), -1)
  first, again, other = started
  assert first == again and first["resume"] == "allow"
  assert other["id"] != first["id"]
  assert (first["project"], first["name"]) == ("rlvr", "a")
  assert first["config"] == {"seed": 7}
  assert logged[:3] == ["step", {"step": 3, "train/reward": 0.5}, "finished"]


class _Failing:
  written = 0

  def write(self, line):
    self.written += 1
    raise ConnectionError("no network")

  def close(self):
    raise AssertionError("it was given up")


def test_a_board_that_fails_is_told_of_once():
  said, failing = [], _Failing()
  shown = boards.Boards([failing], said.append)
  shown.write(_LINE)
  shown.write(_LINE)
  shown.close()
  assert failing.written == 1
  assert said == [
    "_Failing failed (no network): it is left out from here on; the record is"
    " whole"
  ]


def test_a_board_that_cannot_be_opened_is_told_of(tmp_path):
  (tmp_path / "tensorboard").write_text("a file where a folder should be")
  said = []
  config = boards.BoardsConfig(tensorboard=True)
  shown = boards.opened(config, tmp_path, -1, said.append)
  shown.write(_LINE)
  (text,) = said
  assert text.startswith("a board could not be opened (")


def test_a_package_that_is_missing_is_told_of_before_a_run(monkeypatch):
  monkeypatch.setattr(boards.importlib.util, "find_spec", lambda name: None)
  boards.BoardsConfig()
  for wanted, name in (
    ({"tensorboard": True}, "tensorboard"),
    ({"wandb_project": "rlvr"}, "wandb"),
  ):
    with pytest.raises(errors.UserError, match=rf"rlvr_jax\[{name}\]"):
      boards.BoardsConfig(**wanted)


def test_no_board_is_the_default():
  assert boards.BoardsConfig() == boards.BoardsConfig(False, "")
  boards.opened(boards.BoardsConfig(), pathlib.Path("nowhere"), -1).write(_LINE)
