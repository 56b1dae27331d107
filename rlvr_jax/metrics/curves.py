"""Curves of runs: what rises, what falls, and how sure we are."""

from collections.abc import Iterable, Mapping, Sequence
import math
import pathlib
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")  # before pyplot: no screen is needed

from matplotlib import pyplot
from matplotlib import ticker

Lines = Sequence[Mapping[str, Any]]
Points = tuple[Sequence[float], Sequence[float]]

# What a curve is drawn against, and what the axis is called.
CLOCKS = {"step": "RL step", "rollout/total_tokens": "generated tokens"}
# Told apart by the colour-blind, on paper and on a dark screen.
COLOURS = (
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#aa4499",
  "#a87900",
  "#6b6f78",
  "#332288",
  "#882255",
)
INK, FAINT = "#1c1e22", "#c6c9cf"
STYLE = {
  "axes.axisbelow": True,
  "axes.edgecolor": INK,
  "axes.grid": True,
  "axes.labelcolor": INK,
  "axes.linewidth": 0.8,
  "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
  "axes.spines.right": False,
  "axes.spines.top": False,
  "axes.titlecolor": INK,
  "grid.color": FAINT,
  "grid.linewidth": 0.5,
  "legend.fontsize": 8,
  "legend.frameon": False,
  "text.color": INK,
  "xtick.color": INK,
  "ytick.color": INK,
}
# Beside the colour, so that series of one run differ in print too.
_DASHES = ("-", "--", "-.", ":")
# Points of a curve; more of them are averaged, as a screen shows no more.
_MOST_POINTS = 400


class Series(NamedTuple):
  """One curve.

  Attributes:
    metric: key of a line; with its standard errors under "<metric>_se".
    label: in the legend.
  """

  metric: str
  label: str


class Panel(NamedTuple):
  """Curves that share their axes.

  Attributes:
    title: above them, with the unit.
    series: the curves.
    top: upper end of the axis; None leaves it to the values.
  """

  title: str
  series: tuple[Series, ...]
  top: float | None = None


def learning_panels(lines: Lines) -> list[Panel]:
  """What every run is judged by: four panels."""
  ks = (Series(f"eval/pass_at_{k}", f"pass@{k}") for k in _ks(lines))
  return [
    Panel(
      "held-out accuracy",
      (
        Series("eval/pass_at_1", "pass@1"),
        Series("eval/greedy", "greedy"),
        *ks,
      ),
      top=1.0,
    ),
    Panel(
      "distinct correct solutions",
      (Series("eval/distinct_correct", "per problem"),),
    ),
    Panel(
      "policy entropy (nats per token)",
      (
        Series("policy/entropy", "training"),
        Series("eval/entropy", "held-out"),
      ),
    ),
    Panel(
      "training batches",
      (
        Series("train/reward", "reward"),
        Series("rollout/mixed_group_frac", "mixed groups"),
        Series("rollout/truncated_frac", "truncated"),
      ),
      top=1.0,
    ),
  ]


# How prompts were chosen, and what came of it.
CURRICULUM = (
  Panel(
    "estimated accuracy",
    (
      Series("curriculum/error", "|estimate - measured|"),
      Series("curriculum/excess_error", "less counting noise"),
      Series("curriculum/estimate_mean", "mean estimate"),
    ),
  ),
  Panel(
    "groups with two verdicts",
    (
      Series("curriculum/mixed_frac_selected", "selected"),
      Series("curriculum/mixed_frac_explored", "explored"),
    ),
    top=1.0,
  ),
  Panel(
    "trajectory balance, replay",
    (
      Series("policy/residuals_var", "variance of residuals"),
      Series("replay/rows", "replayed rows"),
    ),
  ),
  Panel(
    "KL to the initial policy (nats)",
    (
      Series("policy/response_kl_ref", "mean"),
      Series("policy/response_kl_ref_max", "largest prompt"),
    ),
  ),
)


def draw_curves(lines: Lines, path: pathlib.Path, title: str) -> None:
  """Draws metrics.jsonl as a PNG of four panels, eight with a curriculum.

  Args:
    lines: of metrics.jsonl.
    path: of the PNG.
    title: above the panels.
  """
  panels = learning_panels(lines)
  if any("curriculum/error" in line for line in lines):
    panels += CURRICULUM
  rows = len(panels) // 4
  with pyplot.rc_context(STYLE):
    figure, grid = pyplot.subplots(
      rows, 4, figsize=(15, 3.6 * rows), squeeze=False
    )
    for axes, panel in zip(grid.flat, panels, strict=True):
      draw(axes, panel, {"": lines})
    figure.suptitle(plain(title), fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
  pyplot.close(figure)


def has_data(panel: Panel, lines: Lines) -> bool:
  """Whether any curve of a panel has a point."""
  return any(
    line.get(x.metric) is not None for x in panel.series for line in lines
  )


def draw(
  axes: pyplot.Axes,
  panel: Panel,
  runs: Mapping[str, Lines],
  clock: str = "step",
) -> None:
  """Draws a panel: a colour a series, or a colour a run where runs differ.

  Args:
    axes: empty.
    panel: what to draw; curves without points are left out.
    runs: lines of metrics.jsonl by the run's name.
    clock: of `CLOCKS`.
  """
  lowest = 0.0
  for place, (name, lines) in enumerate(runs.items()):
    for number, series in enumerate(panel.series):
      colour = COLOURS[(place if len(runs) > 1 else number) % len(COLOURS)]
      values, errors = _points(lines, series.metric, clock)
      if not values[0]:
        continue
      labels = [name] * (len(runs) > 1)
      labels += [series.label] * (len(runs) == 1 or len(panel.series) > 1)
      _draw_curve(
        axes,
        values,
        errors,
        color=colour,
        label=plain(", ".join(labels)),
        linestyle=_DASHES[number % len(_DASHES)],
      )
      lowest = min(lowest, *values[1])
  axes.set_title(panel.title, fontsize=10)
  axes.set_xlabel(CLOCKS[clock])
  if lowest == 0:
    axes.set_ylim(0, panel.top)
  if clock != "step":
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.xaxis.set_major_formatter(ticker.EngFormatter())
  else:
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  if axes.has_data():
    axes.legend()


def plain(text: str) -> str:
  """Text that stands as it is: a dollar begins no formula."""
  return text.replace("$", r"\$")


def thinned(values: Sequence[float]) -> list[float]:
  """Values averaged over equal windows where there are too many to be seen."""
  window = math.ceil(len(values) / _MOST_POINTS)
  parts = [values[i : i + window] for i in range(0, len(values), window or 1)]
  return [sum(part) / len(part) for part in parts]


def _draw_curve(axes, values: Points, errors: Points | None, **style):
  """A line, with a band of one standard error where errors are known."""
  marked = dict(marker="o", markersize=3) if len(values[0]) <= 40 else {}
  axes.plot(*values, linewidth=1.3, **marked, **style)
  if errors:
    times, centre, error = values[0], values[1], errors[1]
    axes.fill_between(
      times,
      [v - e for v, e in zip(centre, error, strict=True)],
      [v + e for v, e in zip(centre, error, strict=True)],
      color=style["color"],
      alpha=0.18,
      linewidth=0,
    )


def _points(
  lines: Lines, metric: str, clock: str
) -> tuple[Points, Points | None]:
  """A metric by the clock, and its standard errors if each point has one."""
  found = [x for x in lines if None not in (x.get(metric), x.get(clock))]
  times = thinned([line[clock] for line in found])
  value = lambda name: thinned([line[name] for line in found])
  error = f"{metric}_se"
  if not found or any(line.get(error) is None for line in found):
    return (times, value(metric)), None
  return (times, value(metric)), (times, value(error))


def _ks(lines: Iterable[Mapping[str, Any]]) -> list[int]:
  """The k of every pass@k measured beside pass@1."""
  prefix = "eval/pass_at_"
  found = {
    key[len(prefix) :]
    for line in lines
    for key in line
    if key.startswith(prefix)
  }
  return sorted(int(k) for k in found if k.isdigit() and int(k) > 1)
