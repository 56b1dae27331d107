"""Tables of what a run has said."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_jax.reporting import markup

# Of a text in a table before the rest is folded.
_SHOWN_CHARS = 240


def table(lines: Sequence[Mapping[str, Any]]) -> str:
  """Held-out samples, the newest first, with a filter.

  Args:
    lines: of samples.jsonl.
  """
  if not lines:
    return markup.note("There are no samples yet.")
  verdicts = dict.fromkeys(line["outcome"] for line in lines)
  options = "".join(
    f"<option>{markup.escaped(x)}</option>" for x in ("all", *verdicts)
  )
  newest = sorted(lines, key=lambda line: -line["step"])
  rows = "".join(
    f'<tr data-verdict="{markup.escaped(line["outcome"])}">'
    f'<td class="number" data-name="step">{line["step"]}</td>'
    f'<td data-name="verdict"><span class="verdict">'
    f"{markup.escaped(line['outcome'])}</span></td>"
    f'<td data-name="prompt">{_foldable(line["prompt"])}</td>'
    f'<td data-name="completion">{_foldable(line["completion"])}</td></tr>'
    for line in newest
  )
  return (
    '<form class="choice" id="sample-filter"><label>Verdict'
    f' <select name="verdict">{options}</select></label>'
    '<label>Text <input type="search" name="text" autocomplete="off"></label>'
    '<output name="count"></output></form>'
    '<table id="sample-table"><thead><tr><th>step</th><th>verdict</th>'
    f"<th>prompt</th><th>completion</th></tr></thead><tbody>{rows}</tbody>"
    "</table>"
  )


def _foldable(text: str) -> str:
  """A text, of which only the beginning shows where it is long."""
  text = markup.clean(text)
  if len(text) <= _SHOWN_CHARS:
    return f'<span class="text">{markup.escaped(text)}</span>'
  start = markup.escaped(text[:_SHOWN_CHARS])
  return (
    f'<details class="text"><summary><span>{start} ...</span></summary>'
    f"{markup.escaped(text)}</details>"
  )
