"""Charts from lines of a record."""

from matplotlib import pyplot

from rlvr_jax.reporting import charts
from tests import made_run


def test_bins_are_added_up_over_steps():
  lines = [made_run.line(step) for step in (1, 2)]
  found = charts.calibration_bins(lines)
  # Of ten bins five hold prompts, two at each step.
  assert [round(prompts) for prompts, _, _ in found] == [4] * 5
  for i, (_, estimate, accuracy) in enumerate(found):
    assert round(estimate, 6) == round((i + 0.5) / 10, 6)
    assert round(accuracy, 6) == round(i / 10, 6)


def test_the_axis_of_times_leaves_compilation_out():
  _, axes = pyplot.subplots()
  timing = [
    {"step": 1, "rollout_secs": 50.0, "compile/programs": 5},
    {"step": 2, "rollout_secs": 0.25, "update_secs": 0.75},
    {"step": 3, "rollout_secs": 0.25, "update_secs": 0.25},
  ]
  assert charts.draw_times(axes, timing) == 50.0
  assert 1.0 < axes.get_ylim()[1] < 2.0
  labels = [text.get_text() for text in axes.get_legend().get_texts()]
  assert labels == ["rollout", "update"]
  pyplot.close()


def test_a_chart_has_two_forms():
  chart = charts.render(lambda axes: axes.plot([1, 2], label="a"), "a")
  assert "<svg" in chart.svg and chart.png.startswith(b"\x89PNG")
  again = charts.render(lambda axes: axes.plot([1, 2], label="a"), "a")
  assert chart == again
