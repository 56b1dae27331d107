"""Charts of a report: drawn once, for the page and for papers."""

from collections.abc import Callable, Mapping, Sequence
import io
from typing import Any, NamedTuple

from matplotlib import pyplot

from rlvr_jax.metrics import calibration
from rlvr_jax.metrics import curves

# Inches: one fills the width of a phone, three that of a desk.
_SIZE = (4.4, 2.9)
_DOTS_PER_INCH = 200
# Phases of a step in their order, by name in timing.jsonl.
_PHASES = {
  "rollout_secs": "rollout",
  "teacher_secs": "teacher",
  "look_secs": "tokens kept",
  "update_secs": "update",
  "evaluation_secs": "evaluation",
}


class Chart(NamedTuple):
  """A picture in two forms.

  Attributes:
    svg: for the page.
    png: for a paper.
  """

  svg: str
  png: bytes


def render(draw: Callable[[pyplot.Axes], None], name: str) -> Chart:
  """Draws one set of axes.

  Args:
    draw: draws them.
    name: which ids in the SVG are derived from.
  """
  style = curves.STYLE | {"svg.fonttype": "none", "svg.hashsalt": name}
  svg, png = io.StringIO(), io.BytesIO()
  with pyplot.rc_context(style):
    figure, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
    draw(axes)
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    figure.savefig(png, format="png", dpi=_DOTS_PER_INCH)
  pyplot.close(figure)
  return Chart(svg.getvalue(), png.getvalue())


def draw_times(axes: pyplot.Axes, timing: Sequence[Mapping[str, Any]]) -> float:
  """Seconds of each step, its phases upon each other.

  Args:
    axes: empty.
    timing: lines of timing.jsonl, without that of step 0.

  Returns:
    Seconds of the longest step that compiled something; the axis ends at the
    longest of the others.
  """
  phases = [x for x in _PHASES if any(x in line for line in timing)]
  secs = lambda line: [line.get(x) or 0.0 for x in phases]
  totals = [sum(secs(line)) for line in timing]
  compiles = [bool(line.get("compile/programs")) for line in timing]
  axes.stackplot(
    curves.thinned([line["step"] for line in timing]),
    [curves.thinned(column) for column in zip(*map(secs, timing), strict=True)],
    labels=[_PHASES[x] for x in phases],
    colors=[curves.COLOURS[list(_PHASES).index(x)] for x in phases],
    linewidth=0,
    step="mid",
  )
  axes.set_title("seconds of a step", fontsize=10)
  axes.set_xlabel(curves.CLOCKS["step"])
  steady = [x for x, c in zip(totals, compiles, strict=True) if not c]
  axes.set_ylim(0, 1.3 * max(steady or totals) or None)
  axes.legend(ncols=3, loc="upper center")
  longest = [x for x, c in zip(totals, compiles, strict=True) if c]
  return max(longest, default=0.0)


def draw_calibration(
  axes: pyplot.Axes, runs: Mapping[str, curves.Lines]
) -> None:
  """Measured accuracy against the estimate made before sampling.

  Args:
    axes: empty.
    runs: lines of metrics.jsonl by what they are called.
  """
  axes.plot([0, 1], [0, 1], ":", color=curves.INK, linewidth=1, zorder=1)
  for number, (name, lines) in enumerate(runs.items()):
    bins = calibration_bins(lines)
    most = max((prompts for prompts, _, _ in bins), default=1.0)
    colour = curves.COLOURS[number % len(curves.COLOURS)]
    estimates = [estimate for _, estimate, _ in bins]
    measured = [accuracy for _, _, accuracy in bins]
    axes.plot(estimates, measured, color=colour, linewidth=1)
    axes.scatter(
      estimates,
      measured,
      s=[10 + 90 * prompts / most for prompts, _, _ in bins],
      color=colour,
      alpha=0.8,
      linewidth=0,
      label=curves.plain(name),
      zorder=2,
    )
  axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="estimate", ylabel="share right")
  axes.set_title("estimated and measured accuracy", fontsize=10)
  axes.legend(loc="upper left")


def calibration_bins(
  lines: curves.Lines,
) -> list[tuple[float, float, float]]:
  """Of the bins with prompts in them: prompts, mean estimate, mean accuracy.

  Args:
    lines: of metrics.jsonl, added up.
  """
  found = []
  for i in range(calibration.NUM_BINS):
    total = lambda name, i=i: sum(
      line.get(f"calibration/{i}/{name}") or 0.0 for line in lines
    )
    if prompts := total("prompts"):
      means = (total(f"{x}_sum") / prompts for x in ("estimate", "accuracy"))
      found.append((prompts, *means))
  return found
