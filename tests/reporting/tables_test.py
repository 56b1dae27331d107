"""Figures and settings as tables."""

import re

from rlvr_jax.reporting import source
from rlvr_jax.reporting import tables
from tests import made_run


def _read(folder, **changes):
  return source.read(made_run.make(folder, **changes))


def _cells(text):
  return re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", text)


def test_another_runs_figures_have_a_column(tmp_path):
  runs = source.named([_read(tmp_path / "a"), _read(tmp_path / "b")])
  cells = _cells(tables.results(runs))
  assert cells[:5] == ["held-out", "before", "after", "change", "b, after"]
  assert cells[5:10] == [
    "pass@1",
    "0.100 ± 0.020",
    "0.400 ± 0.020",
    "+0.300",
    "0.400 ± 0.020",
  ]


def test_settings_that_differ_are_listed(tmp_path):
  runs = source.named([_read(tmp_path / "a"), _read(tmp_path / "b", seed=9)])
  text = tables.settings(runs)
  cells = _cells(text.partition("Differences to b")[2])
  assert cells[:6] == ["setting", "a", "b", "seed", "3", "9"]


def test_each_start_with_other_versions_has_a_column(tmp_path):
  run = _read(tmp_path / "a")
  text = tables.settings(source.named([run]))
  cells = _cells(text.partition("Versions")[2])
  assert cells[:6] == [
    "",
    "from step 0",
    "from step 2",
    "jax",
    "0.10.2",
    "0.11.2",
  ]
  text = tables.settings(source.named([run._replace(versions=[])]))
  assert "does not say" in text


def test_what_the_doctor_finds_is_told(tmp_path):
  run = _read(tmp_path / "a")
  lines = [x | {"policy/skipped_frac": 1.0} for x in run.lines]
  text = tables.doctor(run._replace(lines=lines))
  assert "skipped_updates" in text and "config.optimizer.learning_rate" in text
  assert "Nothing found" in tables.doctor(run)
