"""What a run has written down so far, read for its report."""

from collections.abc import Sequence
import pathlib
from typing import Any, NamedTuple

from rlvr_jax import hooks
from rlvr_jax import summary as summary_lib
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.diagnosis import series
from rlvr_jax.diagnosis import table
from rlvr_jax.metrics import writers
from rlvr_jax.reporting import markup
from rlvr_jax.soundness import versions as versions_lib


class Source(NamedTuple):
  """A run's files; any but the config may be missing or cut short.

  Attributes:
    name: of its folder.
    config: of config.json.
    lines: of metrics.jsonl.
    timing: of timing.jsonl.
    samples: of samples.jsonl.
    tokens: of tokens.jsonl.
    versions: step and versions of each start that differed.
  """

  name: str
  config: dict[str, Any]
  lines: list[dict[str, Any]]
  timing: list[dict[str, Any]]
  samples: list[dict[str, Any]]
  tokens: list[dict[str, Any]]
  versions: list[tuple[int, dict[str, Any]]]


def read(folder: pathlib.Path) -> Source:
  """A run's files; nothing is written.

  Raises:
    errors.UserError: if there is no run, or a damaged file.
  """
  config = workdir_lib.read_config(folder)
  lines = lambda name: writers.read_lines(folder / name)
  return Source(
    name=markup.clean(folder.resolve().name),
    config=config,
    lines=lines(workdir_lib.METRICS),
    timing=lines(workdir_lib.TIMING),
    samples=lines(workdir_lib.SAMPLES),
    tokens=lines(workdir_lib.TOKENS),
    versions=versions_lib.starts(folder),
  )


def named(sources: Sequence[Source]) -> dict[str, Source]:
  """Runs by name; those of one name are numbered."""
  found = {}
  for number, source in enumerate(sources, start=1):
    twice = source.name in found
    found[f"{source.name} ({number})" if twice else source.name] = source
  return found


def method(config: dict[str, Any]) -> str:
  """The functions that a config names, in the order of the hooks.

  Example: "grpo_advantages, reversed_teacher, ppo_clip".
  """
  found = []
  for hook in hooks.ROOMS:
    block = config.get(hook) or ()
    if hook in hooks.MANY:
      found += block
    else:
      found.append(block if isinstance(block, str) else dict(block).get("name"))
  return ", ".join(str(name) for name in found if name)


def last_step(source: Source) -> int | None:
  """The newest step of the record; None before step 0 is evaluated."""
  return source.lines[-1]["step"] if source.lines else None


def state(source: Source) -> str:
  """How far the run has got, in words."""
  last, wanted = last_step(source), source.config.get("num_steps")
  if last is None:
    return "no step yet"
  if last == wanted:
    return f"finished, {last} steps"
  return f"step {last} of {wanted} so far"


def summary(source: Source) -> dict[str, Any] | None:
  """Before and after; None before the first evaluation."""
  if not any("eval/pass_at_1" in line for line in source.lines):
    return None
  return summary_lib.summarize(source.lines)


def diagnoses(source: Source) -> list[table.Diagnosis] | None:
  """What the doctor finds; None before the first training step."""
  steps = [line for line in source.lines if line["step"] > 0]
  if not steps:
    return None
  return table.diagnose(series.Run(source.config, steps, source.timing))
