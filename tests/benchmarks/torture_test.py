"""Killing runs: what is hit, what counts as the same end, and the verdict."""

import json
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from benchmarks import endings
from benchmarks import kills
from benchmarks import torture
from rlvr_jax import workdir

_STEPS = 4
_USUAL = kills.Usual(run_secs=1.0, save_secs=0.0)


@pytest.fixture
def finished(tmp_path):
  """A maker of folders of finished runs, all alike."""

  def make(name, steps=range(_STEPS + 1)):
    folder = tmp_path / name
    folder.mkdir()
    lines = [json.dumps({"step": step, "loss": step / 3}) for step in steps]
    (folder / workdir.METRICS).write_text("".join(f"{x}\n" for x in lines))
    (folder / workdir.SAMPLES).write_text('{"step": 0, "completion": "1+1"}\n')
    (folder / workdir.WARM_START_METRICS).write_text('{"step": 50}\n')
    (folder / workdir.SUMMARY).write_text('{"steps": 4}\n')
    # Times are not compared.
    (folder / workdir.TIMING).write_text(f'{{"step": 0, "secs": "{name}"}}\n')
    return folder

  return make


def _differences(ours, theirs):
  return endings.file_differences(ours, theirs, _STEPS)


def test_folders_that_differ_in_times_alone_are_the_same(finished):
  assert _differences(finished("ours"), finished("theirs")) == []


@pytest.mark.parametrize(
  "steps, said",
  [
    ([0, 1, 2, 4], "metrics.jsonl lost 3"),
    ([1, 3, 4], "metrics.jsonl lost 0, 2"),
    ([0, 1, 2, 2, 3, 4], "metrics.jsonl doubled 2"),
    ([0, 1, 2, 3, 4, 5], "metrics.jsonl has no step 5"),
  ],
)
def test_lost_and_doubled_steps_are_named(finished, steps, said):
  found = _differences(finished("ours", steps), finished("theirs"))
  assert found == ["metrics.jsonl differs", said]
  # Also where both have lost the same one.
  assert _differences(finished("again", steps), finished("too", steps)) == [
    said
  ]


@pytest.mark.parametrize(
  "name",
  [
    workdir.METRICS,
    workdir.SAMPLES,
    workdir.WARM_START_METRICS,
    workdir.SUMMARY,
  ],
)
def test_one_byte_of_a_file_is_a_difference(finished, name):
  ours, theirs = finished("ours"), finished("theirs")
  content = (ours / name).read_bytes()
  (ours / name).write_bytes(content.replace(b": ", b":  ", 1))
  assert _differences(ours, theirs) == [f"{name} differs"]
  (ours / name).unlink()
  assert f"{name} differs" in _differences(ours, theirs)


def _state():
  return {
    "params": {"kernel": np.ones((2, 3), np.float32)},
    "step": np.int32(4),
  }


def test_one_bit_of_an_array_is_a_difference():
  ours, theirs = _state(), _state()
  assert endings.state_differences(ours, theirs) == []
  ours["params"]["kernel"].view(np.uint32)[1, 2] ^= 1
  assert endings.state_differences(ours, theirs) == [
    "checkpoint: ['params']['kernel'] differs"
  ]


def test_nan_is_nan_and_minus_zero_is_not_zero():
  ours, theirs = _state(), _state()
  ours["params"]["kernel"][0] = theirs["params"]["kernel"][0] = np.nan
  assert endings.state_differences(ours, theirs) == []
  ours["params"]["kernel"][1], theirs["params"]["kernel"][1] = 0.0, -0.0
  assert len(endings.state_differences(ours, theirs)) == 1


@pytest.mark.parametrize(
  "change",
  [
    lambda state: state.pop("step"),
    lambda state: state.update(more=np.zeros(1)),
    lambda state: state.update(step=np.int64(4)),
    lambda state: state.update(step=np.int32(3)),
  ],
)
def test_arrays_too_many_too_few_or_of_another_kind_differ(change):
  ours = _state()
  change(ours)
  assert len(endings.state_differences(ours, _state())) == 1
  assert len(endings.state_differences(_state(), ours)) == 1


def test_instants_are_of_the_seed_and_every_third_is_aimed():
  def drawn(seed):
    draws = random.Random(seed)
    return [kills.instant(draws, number) for number in range(300)]

  assert drawn(3) == drawn(3) != drawn(4)
  saves = [x.save for x in drawn(3)]
  assert set(saves[2::3]) == {0, 1, 2}
  assert {*saves[0::3], *saves[1::3]} == {None}
  late = [x.is_late for x in drawn(3)]
  assert late[2::6] == [False] * 50
  assert late[5::6] == [True] * 50
  shares = [x.share for x in drawn(3)]
  assert 0 <= min(shares) < 0.05 < 0.95 < max(shares) < 1


def test_phases_are_read_off_the_folder(tmp_path):
  def shown():
    return kills.phase(before, kills.marks(tmp_path))

  def anew(name):
    part = tmp_path / "part"
    part.write_text("")
    part.rename(tmp_path / name)

  (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
  (tmp_path / "checkpoints" / "10").mkdir()
  (tmp_path / "warm_start").mkdir()
  anew(workdir.METRICS)
  before = kills.marks(tmp_path)
  # What lies there unfinished is of an earlier process.
  assert shown() == "start-up"
  anew(workdir.WARM_START_METRICS)
  assert shown() == "warm start"
  (tmp_path / "warm_start" / "saving.json").write_text("20")
  assert shown() == "save: writing"
  (tmp_path / "warm_start" / "20").mkdir()
  assert shown() == "save: closing"
  (tmp_path / "warm_start" / "20" / "checksums.json").write_text("{}")
  (tmp_path / "warm_start" / "saving.json").unlink()
  assert shown() == "warm start"
  anew(workdir.METRICS)
  assert shown() == "loop"
  (tmp_path / "checkpoints" / "15.orbax-checkpoint-tmp").mkdir()
  assert shown() == "save: writing"
  (tmp_path / "checkpoints" / "15.orbax-checkpoint-tmp").rmdir()
  anew(workdir.SUMMARY)
  assert shown() == "end"


def _run(folder, program):
  folder.mkdir()
  command = (sys.executable, "-c", program, str(folder))
  return kills.Run(folder, command, os.environ)


def test_a_kill_takes_the_whole_group_and_says_what_it_hit(tmp_path):
  program = """
import pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / "child").write_text(str(child.pid))
(folder / "metrics.jsonl").write_text("{}\\n{}\\n")
(folder / "checkpoints" / "saving.json").mkdir(parents=True)
time.sleep(60)
"""
  run = _run(tmp_path / "run", program)
  hit = kills.killed(run, kills.Instant(0.5, 0), _USUAL)
  assert (hit.phase, hit.lines, hit.is_aimed) == ("save: writing", 2, True)
  child = int((run.folder / "child").read_text())
  shown = subprocess.run(
    ["ps", "-o", "stat=", "-p", str(child)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert shown.stdout.strip()[:1] in ("", "Z")


def test_a_late_kill_waits_for_the_checkpoint_to_have_its_name(tmp_path):
  program = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "metrics.jsonl").write_text("")
(folder / "checkpoints" / "5.tmp").mkdir(parents=True)
time.sleep(0.2)
(folder / "checkpoints" / "5.tmp").rename(folder / "checkpoints" / "5")
time.sleep(60)
"""
  late = kills.Instant(0.5, 0, is_late=True)
  hit = kills.killed(_run(tmp_path / "late", program), late, _USUAL)
  assert hit.phase == kills.CLOSING
  early = kills.Instant(0.5, 0)
  hit = kills.killed(_run(tmp_path / "early", program), early, _USUAL)
  assert hit.phase == kills.WRITING


def test_a_process_that_ends_before_its_instant_is_no_kill(tmp_path):
  run = _run(tmp_path / "run", "raise SystemExit(0)")
  for when in (kills.Instant(1.0, None), kills.Instant(0.5, 2)):
    usual = kills.Usual(run_secs=60.0, save_secs=0.0)
    assert kills.killed(run, when, usual) == 0
  failing = _run(tmp_path / "failing", "raise SystemExit('error: no')")
  assert kills.killed(failing, kills.Instant(0.5, 1), _USUAL) == 1
  assert torture.failure(failing, 1) == ["status 1: error: no"]
  assert torture.failure(failing, 0) == []


def _tortured(number, *differences):
  kill = kills.Kill("loop", 1.0, 3, False)
  saving = kills.Kill("save: writing", 1.0, 3, True)
  hit = (kill,) * (number - 1) + (saving,)
  return torture.Tortured(hit, differences)


def test_the_last_line_and_the_status():
  same = [_tortured(5), _tortured(3)]
  assert torture.verdict(same) == ("8 kills, 8 identical", 0)
  other = [_tortured(5), _tortured(3, "metrics.jsonl differs")]
  # All kills of a run that ends otherwise count as different.
  assert torture.verdict(other) == ("8 kills, 5 identical", 1)
  assert torture.by_phase(same) == {"loop": 6, "save: writing": 2}


def test_the_program_ends_with_that_line(tmp_path, monkeypatch, capsys):
  found = [_tortured(2), _tortured(1, "checkpoint: ['step'] differs")]
  monkeypatch.setattr(torture, "torture", lambda args, root: (found, _USUAL))
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  path = tmp_path / "results" / "torture.json"
  for expected, line in (
    (1, "3 kills, 2 identical"),
    (0, "2 kills, 2 identical"),
  ):
    monkeypatch.setattr(sys, "argv", ["torture", f"--json={path}"])
    assert torture.main() == expected
    assert capsys.readouterr().out.splitlines()[-1] == line
    found.pop()
  first, second = json.loads(path.read_text())
  assert (first["kills"], first["identical"], first["inside_saves"]) == (
    3,
    2,
    2,
  )
  assert first["by_phase"] == {"loop": 1, "save: writing": 2}
  assert first["runs"][1]["differences"] == ["checkpoint: ['step'] differs"]
  assert second["identical"] == second["kills"] == 2
  assert {"date", "device", "versions", "secs"} < first.keys()
