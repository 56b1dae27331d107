"""Tables and picture of `self_distillation`."""

import pathlib

import matplotlib
import numpy as np

matplotlib.use("Agg")  # before pyplot: no screen is needed

from matplotlib import pyplot

from rlvr_jax import summary as summary_lib
from rlvr_jax.metrics import intervals


def text(ladders, sweep) -> str:
  """Both tables as Markdown, means over seeds."""
  return f"{_ladder_table(ladders)}\n\n{_sweep_table(sweep)}"


def _mean(rows, name: str) -> float:
  return np.mean([row[name] for row in rows])


def _ladder_table(ladders) -> str:
  head = ["context", "score", "length", "doubts per response"]
  head += ["doubts per 1k tokens", "information richness (nats)"]
  lines = []
  for name in ladders[0]:
    rows = [found[name] for found in ladders]
    lines.append(
      [
        name,
        f"{_mean(rows, 'score'):.3f}",
        f"{_mean(rows, 'length'):.1f}",
        f"{_mean(rows, 'doubts'):.2f}",
        f"{_mean(rows, 'doubts_per_1k'):.1f}",
        f"{_mean(rows, 'richness'):.2f}",
      ]
    )
  return summary_lib.markdown(head, lines)


def _sweep_table(sweep) -> str:
  head = ["method", "problems", "training score"]
  for place in ("held-out", "other domain"):
    head += [f"{place}: pass@1", "change", "doubts per 1k"]
  lines = []
  for (arm, size), rows in sweep.items():
    cells = [arm, size, f"{_mean(rows, 'train/accuracy'):.3f}"]
    for suite in ("eval", "ood"):
      change = [
        row[f"{suite}/pass_at_1/end"] - row[f"{suite}/pass_at_1/start"]
        for row in rows
      ]
      middle, low, high = intervals.over_seeds(change)
      cells += [
        f"{_mean(rows, f'{suite}/pass_at_1/end'):.3f}",
        f"{middle:+.3f} [{low:+.3f}, {high:+.3f}]",
        f"{_mean(rows, f'{suite}/doubts_per_1k/start'):.1f} to"
        f" {_mean(rows, f'{suite}/doubts_per_1k/end'):.1f}",
      ]
    lines.append(cells)
  return summary_lib.markdown(head, lines)


def draw(sweep, path: pathlib.Path) -> None:
  """Scores and doubts over coverage, one line per method."""
  sizes = list(dict.fromkeys(size for _, size in sweep))
  panels = (
    ("train/accuracy", "score on training problems", ""),
    ("eval/pass_at_1/end", "held-out pass@1", "eval/pass_at_1/start"),
    ("ood/pass_at_1/end", "other domain pass@1", "ood/pass_at_1/start"),
    (
      "eval/doubts_per_1k/end",
      "doubts per 1k tokens, held-out",
      "eval/doubts_per_1k/start",
    ),
  )
  figure, axes = pyplot.subplots(1, 4, figsize=(16, 3.6))
  for axis, (name, title, start) in zip(axes, panels, strict=True):
    for arm in dict.fromkeys(arm for arm, _ in sweep):
      values = np.array([[r[name] for r in sweep[arm, s]] for s in sizes])
      axis.plot(sizes, values.mean(axis=1), marker="o", label=arm)
      axis.fill_between(
        sizes, values.min(axis=1), values.max(axis=1), alpha=0.15
      )
    if start:
      level = np.mean([row[start] for rows in sweep.values() for row in rows])
      axis.axhline(level, color="black", linestyle=":", label="warm start")
    axis.set(title=title, xlabel="training problems", ylim=(0, None))
  axes[0].legend()
  figure.tight_layout()
  figure.savefig(path, dpi=110)
  pyplot.close(figure)
