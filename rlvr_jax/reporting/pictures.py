"""The charts of a report as HTML, and as PNG files beside it."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
import re
from typing import Any

from rlvr_jax.metrics import curves
from rlvr_jax.reporting import charts
from rlvr_jax.reporting import markup
from rlvr_jax.reporting import panels
from rlvr_jax.reporting import svg

# What files and elements of each clock are called.
_CLOCK_NAMES = {"step": "steps", "rollout/total_tokens": "tokens"}
# Of the steps, the share at either end that calibration is compared over.
_END = 4


class Gallery:
  """Draws charts for a page; writes each as a PNG as well."""

  def __init__(self, folder: pathlib.Path):
    """Pictures go to the folder, which is made."""
    folder.mkdir(exist_ok=True)
    self._folder = folder

  def figure(
    self, name: str, title: str, draw: Callable[..., Any], kind: str = ""
  ) -> str:
    """A <figure> of one chart.

    Args:
      name: of the file and the ids; unique, of letters, digits and "_".
      title: told to those who do not see it.
      draw: see `charts.render`.
      kind: class of the element.
    """
    chart = charts.render(draw, name)
    (self._folder / f"{name}.png").write_bytes(chart.png)
    drawn = svg.inlined(chart.svg, name, markup.clean(title))
    return f'<figure class="{kind}">{drawn}</figure>'


def learning(runs: Mapping[str, curves.Lines], gallery: Gallery) -> str:
  """All curves, against steps and against generated tokens."""
  parts = [_CLOCK_CHOICE]
  for heading, shown in panels.chosen(runs).items():
    figures = [
      gallery.figure(
        f"{_slug(heading)}_{_slug(panel.title)}_by_{name}",
        f"{panel.title} by {curves.CLOCKS[clock]}",
        lambda axes, panel=panel, clock=clock: curves.draw(
          axes, panel, runs, clock
        ),
        f"by-{name}",
      )
      for panel in shown
      for clock, name in _CLOCK_NAMES.items()
    ]
    parts.append(f"<h3>{markup.escaped(heading)}</h3>{_grid(figures)}")
  parts.append(
    markup.note(
      "Bands are one standard error over held-out problems. Long curves are"
      " averaged over equal windows."
    )
  )
  return "".join(parts)


def times(timing: Sequence[Mapping[str, Any]], gallery: Gallery) -> str:
  """Where the seconds of each step went; "" before there are two steps."""
  timing = [line for line in timing if line["step"] > 0]
  if len(timing) < 2:
    return markup.note("There are no two steps to show yet.")
  compiled = []
  figure = gallery.figure(
    "times",
    "seconds of each step by phase",
    lambda axes: compiled.append(charts.draw_times(axes, timing)),
  )
  total = sum(
    value
    for line in timing
    for name, value in line.items()
    if name.endswith("_secs")
  )
  told = f"{total:,.1f} seconds in {len(timing)} steps."
  if compiled[0]:
    told += (
      f" Steps that compile take up to {compiled[0]:.1f} s, off the scale."
    )
  return _grid([figure]) + markup.note(told)


def calibration(lines: curves.Lines, gallery: Gallery) -> str:
  """Estimated against measured accuracy; "" where nothing is estimated."""
  steps = [line for line in lines if "calibration/0/prompts" in line]
  if not steps:
    return ""
  size = max(1, len(steps) // _END)
  parts = {"first": steps[:size], "last": steps[-size:]}
  spans = {
    f"steps {part[0]['step']} to {part[-1]['step']}": part
    for part in parts.values()
  }
  figure = gallery.figure(
    "calibration",
    "measured accuracy by estimated accuracy",
    lambda axes: charts.draw_calibration(axes, spans),
  )
  return _grid([figure]) + markup.note(
    "Prompts by the accuracy that was estimated before sampling; a dot's area"
    " is their number. On the diagonal an estimate is right."
  )


_CLOCK_CHOICE = (
  '<fieldset class="choice"><legend>Against</legend>'
  '<label><input type="radio" name="clock" value="steps" checked> steps'
  "</label>"
  '<label><input type="radio" name="clock" value="tokens"> generated tokens'
  "</label></fieldset>"
)


def _grid(figures: Sequence[str]) -> str:
  return f'<div class="grid">{"".join(figures)}</div>'


def _slug(text: str) -> str:
  """A name for a file, of a title without its unit."""
  text = re.sub(r"\(.*?\)", "", text).replace("@", "_at_").lower()
  return re.sub(r"\W+", "_", text).strip("_")
