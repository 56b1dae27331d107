"""Which curves are drawn."""

from rlvr_jax.reporting import panels
from tests import made_run

_LINES = [made_run.line(step) for step in range(4)]


def test_only_what_there_is():
  found = panels.chosen({"run": _LINES})
  assert list(found) == ["Learning", "Responses", "Updates"]
  titles = [panel.title for panel in found["Responses"]]
  assert "doubts per 1,000 tokens, training" in titles
  assert "another domain, pass@1" not in titles


def test_a_run_with_nothing_has_no_panels():
  assert panels.chosen({"run": []}) == {}


def test_beside_other_runs_each_curve_has_its_panel():
  found = panels.chosen({"run": _LINES, "other": []})
  assert all(len(x.series) == 1 for part in found.values() for x in part)
  titles = [panel.title for panel in found["Learning"]]
  assert "held-out accuracy: pass@1" in titles
  # The other run has no point, and greedy has none at all.
  assert "held-out accuracy: greedy" not in titles
