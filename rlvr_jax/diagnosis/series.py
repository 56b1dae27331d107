"""A run's figures by step, and the two windows that rules compare."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Steps that say where a run began: one alone is noise.
_FIRST = 3
# Of the steps so far, one in so many says how it is now; three at least.
_RECENT = 4

Points = list[tuple[int, float]]


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
  return _mean(found[-max(_FIRST, len(found) // _RECENT) :])


def now(run: Run, name: str, otherwise: float = 0.0) -> float:
  """`recent` of a metric, where there is one."""
  found = points(run, name)
  return recent(found) if found else otherwise


def then(run: Run, name: str, otherwise: float = 0.0) -> float:
  """`start` of a metric, where there is one."""
  found = points(run, name)
  return start(found) if found else otherwise


def span(found: Points) -> str:
  """The steps that `recent` looks at, in words."""
  last = found[-max(_FIRST, len(found) // _RECENT) :]
  return f"steps {last[0][0]} to {last[-1][0]}"


def setting(config: Mapping[str, Any], path: str) -> Any:
  """A value of the config by its dotted path; None if it is not set."""
  for key in path.split("."):
    if not isinstance(config, Mapping) or key not in config:
      return None
    config = config[key]
  return config


def _mean(found: Points) -> float:
  return sum(value for _, value in found) / len(found)
