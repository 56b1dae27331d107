"""HTML of texts that may hold anything."""

from collections.abc import Iterable, Sequence
import html
import json
import re
from typing import Any

# What no page can show: control characters but for tab and line feed, and
# halves of a character.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_REPLACEMENT = "\ufffd"
# Of one text in a page. Beyond it a browser crawls, and nobody reads.
MOST_CHARS = 20_000


def clean(text: Any) -> str:
  """A text that any encoder and browser takes, and of bearable length."""
  text = str(text)
  left_out = len(text) - MOST_CHARS
  if left_out > 0:
    text = f"{text[:MOST_CHARS]} ... ({left_out:,} more characters)"
  return _UNSHOWN.sub(_REPLACEMENT, text)


def escaped(text: Any) -> str:
  """A text as HTML, also inside of an attribute's quotes."""
  return html.escape(clean(text))


def table(
  header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = ""
) -> str:
  """A table of texts; the first cell of a row is its heading.

  Args:
    header: a text a column.
    rows: texts, escaped here.
    kind: class of the table.
  """
  head = "".join(f'<th scope="col">{escaped(x)}</th>' for x in header)
  body = "".join(
    f'<tr><th scope="row">{escaped(first)}</th>'
    + "".join(f"<td>{escaped(x)}</td>" for x in others)
    + "</tr>"
    for first, *others in rows
  )
  return (
    f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>"
  )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
  """Names and values below each other."""
  rows = (
    f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
    for name, value in pairs
  )
  return f"<dl>{''.join(rows)}</dl>"


def folded(heading: str, content: str) -> str:
  """HTML that shows once its heading is clicked."""
  return f"<details><summary>{escaped(heading)}</summary>{content}</details>"


def note(text: str) -> str:
  """A sentence in small print."""
  return f'<p class="note">{escaped(text)}</p>'


def section(name: str, heading: str, content: str) -> str:
  """A part of the page that the menu leads to."""
  return (
    f'<section id="{escaped(name)}"><h2>{escaped(heading)}</h2>'
    f"{content}</section>"
  )


def data(name: str, value: Any) -> str:
  """Values for scripts; no text among them can end the element.

  Args:
    name: id of the element.
    value: of texts that `clean` has seen, numbers, lists and dicts.
  """
  text = json.dumps(value, separators=(",", ":"), allow_nan=False)
  text = text.replace("<", r"\u003c")
  return f'<script type="application/json" id="{escaped(name)}">{text}</script>'
