"""The picture of a run: what rises, what falls, and how sure we are."""

import pathlib
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: no screen is needed

from matplotlib import pyplot


def draw_curves(
  lines: list[dict[str, Any]], path: pathlib.Path, title: str
) -> None:
  """Draws metrics.jsonl as a PNG of four panels, eight with a curriculum.

  Args:
    lines: of metrics.jsonl.
    path: of the PNG.
    title: above the panels.
  """
  chooses = any("curriculum/error" in line for line in lines)
  rows = 2 if chooses else 1
  figure, grid = pyplot.subplots(
    rows, 4, figsize=(15, 3.6 * rows), squeeze=False
  )
  accuracy, solutions, entropy, groups = grid[0]
  for name, label in (
    ("pass_at_1", "pass@1"),
    ("greedy", "greedy"),
    *((f"pass_at_{k}", f"pass@{k}") for k in _ks(lines)),
  ):
    _with_error(accuracy, lines, f"eval/{name}", label)
  accuracy.set(title="held-out accuracy", ylim=(0, 1))
  _with_error(
    solutions, lines, "eval/distinct_correct", "per problem", color="C4"
  )
  solutions.set(title="distinct correct solutions")
  _plain(entropy, lines, "policy/entropy", "training", alpha=0.5)
  _with_error(entropy, lines, "eval/entropy", "held-out", color="C3")
  entropy.set(title="policy entropy (nats per token)")
  _plain(groups, lines, "train/reward", "training reward", alpha=0.5)
  _plain(groups, lines, "rollout/mixed_group_frac", "mixed groups", alpha=0.5)
  _plain(groups, lines, "rollout/truncated_frac", "truncated", alpha=0.5)
  groups.set(title="training batches", ylim=(0, 1))
  if chooses:
    _curriculum(grid[1], lines)
  for panel in grid.flat:
    if panel.has_data():
      panel.legend(frameon=False, fontsize=8)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("RL step")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
  figure.suptitle(title, fontsize=11)
  figure.tight_layout()
  figure.savefig(path, dpi=110)
  pyplot.close(figure)


def _curriculum(panels, lines):
  """How prompts were chosen, and what came of it."""
  calibration, mixed, balance, divergence = panels
  _plain(calibration, lines, "curriculum/error", "|estimate - measured|")
  _plain(calibration, lines, "curriculum/excess_error", "less counting noise")
  _plain(calibration, lines, "curriculum/estimate_mean", "mean estimate")
  calibration.set(title="estimated accuracy")
  for name in ("selected", "explored"):
    _plain(mixed, lines, f"curriculum/mixed_frac_{name}", name, alpha=0.7)
  mixed.set(title="groups with two verdicts", ylim=(0, 1))
  _plain(balance, lines, "policy/residuals_var", "variance of residuals")
  _plain(balance, lines, "replay/rows", "replayed rows")
  balance.set(title="trajectory balance, replay")
  _plain(divergence, lines, "policy/response_kl_ref", "mean")
  _plain(divergence, lines, "policy/response_kl_ref_max", "largest prompt")
  divergence.set(title="KL to the initial policy (nats)")


def _series(lines, name):
  points = [(x["step"], x[name]) for x in lines if x.get(name) is not None]
  return tuple(zip(*points, strict=True)) if points else ((), ())


def _plain(panel, lines, name, label, **style):
  panel.plot(*_series(lines, name), label=label, linewidth=1.2, **style)


def _with_error(panel, lines, name, label, **style):
  """Line with a band of one standard error."""
  steps, values = _series(lines, name)
  (drawn,) = panel.plot(steps, values, "o-", markersize=3, label=label, **style)
  errors = dict(zip(*_series(lines, name + "_se"), strict=True))
  if all(step in errors for step in steps):
    panel.fill_between(
      steps,
      [v - errors[s] for s, v in zip(steps, values, strict=True)],
      [v + errors[s] for s, v in zip(steps, values, strict=True)],
      color=drawn.get_color(),
      alpha=0.18,
      linewidth=0,
    )


def _ks(lines) -> list[int]:
  """The k of every pass@k measured beside pass@1."""
  prefix = "eval/pass_at_"
  found = {
    key[len(prefix) :]
    for line in lines
    for key in line
    if key.startswith(prefix)
  }
  return sorted(int(k) for k in found if k.isdigit() and int(k) > 1)
