"""Methods compared: equal generated tokens, paired seeds, ranks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rlvr_jax import summary
from rlvr_jax.metrics import intervals

# What methods are ranked by.
RANKED = "pass_at_1"


class Curves(NamedTuple):
  """What a method does over its run: S seeds, E evaluations, N problems.

  Attributes:
    name: of the method, with the settings that were swept.
    tokens: f64[E, S], generated until then, of all that was generated.
    figures: f64[E, S, N] by name, of held-out problems.
    secs: of its training, per seed.
    left_out: steps of all seeds that left an update out, since its loss or
      gradient was not finite.
  """

  name: str
  tokens: np.ndarray
  figures: dict[str, np.ndarray]
  secs: float
  left_out: int = 0


def budget(curves: Sequence[Curves]) -> np.ndarray:
  """Tokens that all methods generated, f64[S]."""
  return np.min([x.tokens[-1] for x in curves], axis=0)


def at(curves: Curves, tokens: np.ndarray) -> dict[str, np.ndarray]:
  """Figures f64[S, N] where each seed had generated so many tokens, f64[S].

  Between two evaluations curves are taken for straight.
  """
  found = {}
  for name, values in curves.figures.items():
    by_seed = []
    for seed, wanted in enumerate(tokens):
      places = curves.tokens[:, seed]
      where = np.interp(wanted, places, np.arange(len(places)))
      before = int(min(where, len(places) - 1))
      after = min(before + 1, len(places) - 1)
      share = where - before
      rows = values[:, seed]
      by_seed.append((1.0 - share) * rows[before] + share * rows[after])
    found[name] = np.stack(by_seed)
  return found


def ranks(values: np.ndarray) -> np.ndarray:
  """Rank of each method with each seed, f64[M, S]; 1 is the largest value.

  Those that are equal share the mean of their ranks.

  Args:
    values: f64[M, S].
  """
  larger = np.sum(values[None] > values[:, None], axis=1)
  equal = np.sum(values[None] == values[:, None], axis=1)
  return larger + (equal + 1) / 2


def compared(curves: Sequence[Curves]) -> dict[str, Any]:
  """All methods at equal tokens, and what sets them apart from the first.

  Returns:
    {"budget": tokens by seed, "methods": {name: {"figures": {name: {"mean",
    "difference": (mean, low, high)}}, "ranks": by seed, "rank": (mean, low,
    high), "tokens": mean of the whole run, "secs", "left_out"}}}.
  """
  tokens = budget(curves)
  found = [at(x, tokens) for x in curves]
  ranked = ranks(np.stack([x[RANKED].mean(axis=1) for x in found]))
  return {
    "budget": tokens.tolist(),
    "methods": {
      method.name: {
        "figures": {
          name: {
            "mean": float(values.mean()),
            "difference": intervals.paired(values, found[0][name]),
          }
          for name, values in own.items()
        },
        "ranks": rank.tolist(),
        "rank": intervals.over_seeds(rank),
        "tokens": float(method.tokens[-1].mean()),
        "secs": method.secs,
        "left_out": method.left_out,
      }
      for method, own, rank in zip(curves, found, ranked, strict=True)
    },
  }


def table(report: dict[str, Any]) -> str:
  """The report as Markdown; differences are those to the first method."""
  methods = report["methods"]
  names = list(next(iter(methods.values()))["figures"])
  head = ["method", *map(summary.label, names), "rank"]
  head += ["generated tokens", "seconds per seed"]
  has_left_out = any(found["left_out"] for found in methods.values())
  if has_left_out:
    head.append("steps with an update left out")
  rows = []
  for number, (method, found) in enumerate(methods.items()):
    cells = [method]
    for name in names:
      figure = found["figures"][name]
      change, low, high = figure["difference"]
      cells.append(f"{figure['mean']:.3f}")
      if number:
        cells[-1] += f" ({change:+.3f} [{low:+.3f}, {high:+.3f}])"
    mean, low, high = found["rank"]
    cells.append(f"{mean:.1f} [{low:.1f}, {high:.1f}]")
    cells += [f"{found['tokens']:,.0f}", f"{found['secs']:.0f}"]
    if has_left_out:
      cells.append(str(found["left_out"]))
    rows.append(cells)
  return summary.markdown(head, rows)
