"""The end of a run: one table, five samples, one picture."""

from collections.abc import Iterable, Sequence
import pathlib
from typing import Any

from rlvr_jax import workdir as workdir_lib
from rlvr_jax.metrics import curves
from rlvr_jax.metrics import writers

_LABELS = {
  "pass_at_1": "pass@1",
  "greedy": "greedy",
  "distinct_correct": "distinct correct",
  "parsed": "well-formed",
  "entropy": "entropy (nats)",
  "length": "length (tokens)",
  "cut_off": "cut off",
}


# Of a prompt, and of a completion, in a list of samples.
_SHOWN_CHARS = 120


def finish(folder: pathlib.Path) -> str:
  """Writes summary.json and curves.png; returns what to print."""
  lines = writers.read_lines(folder / workdir_lib.METRICS)
  summary = summarize(lines)
  writers.write_json(folder / workdir_lib.SUMMARY, summary)
  picture = folder / workdir_lib.CURVES
  config = workdir_lib.read_config(folder)
  data = config["data"]
  curves.draw_curves(
    lines,
    picture,
    title=f"{folder.name}: {data['name']} {data['variant']},"
    f" seed {config['seed']}",
  )
  samples = writers.read_lines(folder / workdir_lib.SAMPLES)
  return "\n".join(
    [
      "",
      table(summary),
      "",
      "Held-out samples of the trained policy:",
      *(sample_line(s) for s in samples if s["step"] == summary["steps"]),
      "",
      f"figures: {folder / workdir_lib.SUMMARY}",
      f"picture: {picture}",
      f"page:    python -m rlvr_jax.report --workdir={folder}",
    ]
  )


def summarize(lines: list[dict[str, Any]]) -> dict[str, Any]:
  """The first and the last evaluation of a run.

  Args:
    lines: of metrics.jsonl.

  Returns:
    {"before": {name: value, name_se: standard error}, "after": {...},
    "steps": int, "generated_tokens": int}.
  """
  evaluated = [line for line in lines if "eval/pass_at_1" in line]
  pick = lambda line: {
    key.removeprefix("eval/"): value
    for key, value in line.items()
    if key.startswith("eval/")
  }
  return {
    "before": pick(evaluated[0]),
    "after": pick(evaluated[-1]),
    "steps": evaluated[-1]["step"],
    "generated_tokens": lines[-1]["rollout/total_tokens"],
  }


def table(summary: dict[str, Any]) -> str:
  """Before and after, with standard errors, as aligned text."""
  return f"{aligned(rows(summary))}\n{note(summary)}"


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
  """The cells of a table of before and after, its header first."""
  before, after = summary["before"], summary["after"]
  return [("held-out", "before", "after", "change")] + [
    (
      label(name),
      with_error(before, name),
      with_error(after, name),
      f"{after[name] - before[name]:+.3f}",
    )
    for name in measures(before)
  ]


def note(summary: dict[str, Any]) -> str:
  """What stands below such a table."""
  return (
    f"{summary['steps']} steps, {summary['generated_tokens']:,} generated"
    " tokens; ± one standard error over problems"
  )


def one_column(metrics: dict[str, float]) -> str:
  """One evaluation, with standard errors, as aligned text."""
  return aligned(
    [(label(name), with_error(metrics, name)) for name in measures(metrics)]
  )


def measures(metrics: dict[str, float]) -> list[str]:
  """Names of an evaluation's values, without their errors."""
  return [name for name in metrics if not name.endswith("_se")]


def label(name: str) -> str:
  """What a measure is called in a table."""
  shorter = name.replace("pass_at_", "pass@").replace("maj_at_", "maj@")
  return _LABELS.get(name, shorter)


def with_error(metrics: dict[str, float | None], name: str) -> str:
  """A value with its standard error; "-" for either that is not there."""
  shown = lambda x: "-" if x is None else f"{x:.3f}"
  return f"{shown(metrics.get(name))} ± {shown(metrics.get(name + '_se'))}"


def aligned(rows: list[tuple[str, ...]]) -> str:
  """Columns of equal width, the first to the left, the others to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for first, *others in rows:
    cells = [first.ljust(widths[0])]
    cells += [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
    lines.append("  ".join(cells))
  return "\n".join(lines)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table of cells."""
  lines = [head, ["---"] * len(head), *rows]
  return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def sample_line(sample: dict[str, Any]) -> str:
  """One sample as a line of text; long ones lose their middle."""
  ends = [_without_middle(sample[name]) for name in ("prompt", "completion")]
  return f"  {sample['outcome']:<9}  {' '.join(ends)}"


def _without_middle(text: str) -> str:
  text = " ".join(text.split())
  half = _SHOWN_CHARS // 2
  if len(text) <= _SHOWN_CHARS:
    return text
  return f"{text[:half]} ... {text[-half:]}"
