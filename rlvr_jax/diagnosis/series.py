"""A run's figures by step, and the two windows that rules compare."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlvr_jax import workdir

# Steps that say where a run began: one alone is noise.
_FIRST = 3
# Of the steps so far, one in so many says how it is now; three at least.
_RECENT = 4

Points = list[tuple[int, float]]
# Sentences with figures and steps; None where there is nothing to tell.
Evidence = tuple[str, ...] | None


class Run(NamedTuple):
  """What a run has written down; any of it may be cut short.

  Attributes:
    config: of config.json.
    lines: of metrics.jsonl, without that of step 0.
    timing: of timing.jsonl.
  """

  config: Mapping[str, Any]
  lines: Sequence[Mapping[str, Any]]
  timing: Sequence[Mapping[str, Any]] = ()


def points(run: Run, name: str) -> Points:
  """(step, value) wherever a metric was written; null is none."""
  return [
    (line["step"], line[name])
    for line in run.lines
    if line.get(name) is not None
  ]


def start(found: Points) -> float:
  """The mean of the first steps."""
  return _mean(found[:_FIRST])


def recent(found: Points) -> float:
  """The mean of the last quarter of the steps, of three at least."""
  return _mean(_last(found))


def now(run: Run, name: str) -> float:
  """`recent` of a metric, 0 where there is none."""
  found = points(run, name)
  return recent(found) if found else 0.0


def then(run: Run, name: str) -> float:
  """`start` of a metric, 0 where there is none."""
  found = points(run, name)
  return start(found) if found else 0.0


def span(found: Points) -> str:
  """The steps that `recent` looks at, in words."""
  last = _last(found)
  return f"steps {last[0][0]} to {last[-1][0]}"


def setting(run: Run, path: str) -> Any:
  """A value of the config by its dotted path; None if it is not set."""
  return workdir.flat(run.config).get(path)


def _last(found: Points) -> Points:
  return found[-max(_FIRST, len(found) // _RECENT) :]


def _mean(found: Points) -> float:
  return sum(value for _, value in found) / len(found)
