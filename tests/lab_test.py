"""The lab: what is done is kept, what comes out is written."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from rlvr_jax import lab
from rlvr_jax.laboratory import columns as columns_lib
from rlvr_jax.laboratory import entries as entries_lib
from rlvr_jax.metrics import progress as progress_lib
from rlvr_jax.soundness import versions
from tests import runs

_SMALL = runs.QUICK | {"num_steps": 4, "evaluation.every_steps": 2}
_SEEDS = 2


def _entries(*names, **changes):
  return [
    entries_lib.entry(name, _SEEDS, [{}], _SMALL | changes) for name in names
  ]


@pytest.fixture
def made(monkeypatch):
  """A lab whose methods train in no time; names of those that did."""
  names = []

  def trained(found, params, budget, *_):
    del params, budget
    names.append(found.name)
    values = np.full((2, _SEEDS, 3), len(names) / 10)
    return {
      "steps": [0, 4],
      "tokens": [[0.0] * _SEEDS, [100.0] * _SEEDS],
      "figures": {"pass_at_1": values.tolist()},
      "secs": 1.0,
      "left_out": [0] * _SEEDS,
    }

  monkeypatch.setattr(lab, "trained", trained)
  monkeypatch.setattr(lab, "warm_parameters", lambda *_: (None, {"seeds": 2}))
  return names


def _compare(entries, folder):
  progress = progress_lib.Progress(is_silent=True)
  return lab.compare(entries, _SEEDS, folder, columns_lib.Layout(), progress)


def test_finished_methods_are_read_back(made, tmp_path):
  first = _compare(_entries("grpo", "rloo"), tmp_path)
  assert made == ["grpo", "rloo"]
  again = _compare(_entries("grpo", "rloo", "gspo"), tmp_path)
  assert made == ["grpo", "rloo", "gspo"]
  for name in ("grpo", "rloo"):
    figures = again["methods"][name]["figures"]
    assert figures == first["methods"][name]["figures"]
  held = json.loads((tmp_path / "table.json").read_text())
  assert list(held["methods"]) == made
  assert (tmp_path / "table.md").read_text().startswith("| method | pass@1")
  assert (tmp_path / "rank.png").exists()


def test_other_settings_are_trained_anew_and_nothing_is_lost(made, tmp_path):
  _compare(_entries("grpo"), tmp_path)
  held = (tmp_path / "grpo.json").read_bytes()
  _compare(_entries("grpo", **{"optimizer.learning_rate": 1e-3}), tmp_path)
  assert made == ["grpo", "grpo"]
  assert (tmp_path / "grpo.json.1").read_bytes() == held
  assert (tmp_path / "grpo.json").read_bytes() != held


def test_a_method_read_back_says_if_it_had_other_versions(
  made, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(versions, "here", lambda: {"jax": "1"})
  _compare(_entries("grpo"), tmp_path)
  monkeypatch.setattr(versions, "here", lambda: {"jax": "2"})
  lab.compare(
    _entries("grpo", "rloo"),
    _SEEDS,
    tmp_path,
    columns_lib.Layout(),
    progress_lib.Progress(),
  )
  assert made == ["grpo", "rloo"]
  assert "grpo was computed with others" in (told := capsys.readouterr().err)
  assert "jax 1 -> 2" in told and "rloo was" not in told


def test_a_method_that_was_cut_serves_no_larger_budget():
  tokens = np.array([100.0, 120.0, 90.0, 200.0])
  assert lab.is_spent(tokens, np.array([90.0, 120.0]))
  assert not lab.is_spent(tokens, np.array([100.0, 120.0]))


def test_tokens_of_probes_count():
  metrics = {
    "rollout/tokens": np.array([[1.0, 2.0], [3.0, 4.0]]),
    "rollout/probe_tokens": np.array([[10.0, 0.0], [10.0, 0.0]]),
  }
  np.testing.assert_array_equal(lab.tokens_of(metrics), [24.0, 6.0])


@pytest.mark.slow
def test_updates_left_out_are_counted_by_seed(tmp_path):
  (found,) = _entries("grpo")
  layout = columns_lib.Layout()
  states = lab.locked(found.experiments, tmp_path, layout).fresh(None, None)
  broken = jax.tree.map(lambda x: np.array(x), states.params)
  for x in jax.tree.leaves(broken):
    x[1] = np.nan
  progress = progress_lib.Progress(is_silent=True)
  with jax.numpy_dtype_promotion("standard"):
    held = lab.trained(found, broken, None, tmp_path, layout, progress)
  assert held["left_out"] == [0, 4]
  first, *_ = lab.curves_of(found, held)
  assert first.left_out == 4


@pytest.mark.slow
def test_a_lab_from_outside(tmp_path):
  folder = tmp_path / "lab"
  program = [
    sys.executable,
    *("-m", "rlvr_jax.lab", "--methods=grpo,dapo", "--seeds=3"),
    *(f"--set={name}={value}" for name, value in _SMALL.items()),
    *("--sweep=optimizer.learning_rate=5e-4,2e-3", f"--out={folder}"),
  ]
  start = lambda: subprocess.run(
    program,
    capture_output=True,
    text=True,
    check=False,
    timeout=500,
    env=runs.environment(str(tmp_path / "cache"), devices=2),
  )
  done = start()
  assert done.returncode == 0, done.stderr
  names = [f"{x} optimizer.learning_rate={y}" for x, y in _ROWS]
  table = json.loads((folder / "table.json").read_text())
  assert list(table["methods"]) == names
  held = json.loads((folder / "grpo.json").read_text())
  assert held["steps"] == [0, 2, 4]
  assert np.shape(held["tokens"]) == (3, 6)
  assert np.shape(held["figures"]["pass_at_3"]) == (3, 6, 12)
  # All start alike.
  rows = np.array(held["figures"]["pass_at_1"])[0].reshape(2, 3, 12)
  np.testing.assert_array_equal(rows[0], rows[1])
  # DAPO samples several batches a step, and stops once GRPO's tokens are spent.
  ours = np.array(held["tokens"])[-1, :3]
  last = np.array(json.loads((folder / "dapo.json").read_text())["tokens"])
  assert np.all(last[-1].reshape(2, 3) >= ours)
  before = (folder / "grpo.json").stat().st_mtime_ns
  assert start().returncode == 0
  assert (folder / "grpo.json").stat().st_mtime_ns == before


_ROWS = [(x, y) for x in ("grpo", "dapo") for y in ("0.0005", "0.002")]
