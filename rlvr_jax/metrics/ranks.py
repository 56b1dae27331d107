"""The picture of an arena: who comes first, and with which seed."""

from collections.abc import Mapping, Sequence
import pathlib

from matplotlib import pyplot

from rlvr_jax.metrics import curves


def draw_ranks(
  ranks: Mapping[str, Sequence[float]],
  means: Mapping[str, Sequence[float]],
  path: pathlib.Path,
  title: str,
) -> None:
  """Draws a PNG: a line for each method, the best at the top.

  Args:
    ranks: of each seed, by method.
    means: mean rank and the ends of its interval, by method.
    path: of the PNG.
    title: above it.
  """
  names = sorted(ranks, key=lambda name: -means[name][0])
  with pyplot.rc_context(curves.STYLE):
    figure, panel = pyplot.subplots(figsize=(7, 1.3 + 0.35 * len(names)))
    for place, name in enumerate(names):
      mean, low, high = means[name]
      seeds = ranks[name]
      panel.plot(seeds, [place] * len(seeds), "|", color="0.5", markersize=11)
      panel.plot([low, high], [place, place], color="C0", linewidth=2)
      panel.plot([mean], [place], "o", color="C0")
    panel.set_yticks(range(len(names)), names)
    panel.set_xticks(range(1, len(names) + 1))
    panel.set_xlim(0.5, len(names) + 0.5)
    panel.set_xlabel("rank (|: one seed, dot: mean with a 95 % interval)")
    panel.set_title(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
