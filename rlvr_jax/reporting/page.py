"""A report put together: one HTML file that reads nothing from elsewhere."""

import base64
from collections.abc import Sequence
import hashlib
from importlib import resources
import pathlib

from rlvr_jax.reporting import markup
from rlvr_jax.reporting import pictures
from rlvr_jax.reporting import samples
from rlvr_jax.reporting import source as source_lib
from rlvr_jax.reporting import tables
from rlvr_jax.reporting import tokens


def build(sources: Sequence[source_lib.Source], folder: pathlib.Path) -> str:
  """The page of a run.

  Args:
    sources: the run, then those that it is compared with.
    folder: pictures for papers go there.
  """
  first, runs = sources[0], source_lib.named(sources)
  lines = {name: source.lines for name, source in runs.items()}
  gallery = pictures.Gallery(folder)
  parts = {
    "results": ("Results", tables.results(runs)),
    "doctor": ("Doctor", tables.doctor(first)),
    "curves": ("Curves", pictures.learning(lines, gallery)),
    "calibration": (
      "Calibration",
      pictures.calibration(first.lines, gallery),
    ),
    "times": ("Time", pictures.times(first.timing, gallery)),
    "tokens": ("Tokens", tokens.heat_map(first.tokens)),
    "samples": ("Samples", samples.table(first.samples)),
    "settings": ("Settings", tables.settings(runs)),
  }
  parts = {name: part for name, part in parts.items() if part[1]}
  menu = "".join(
    f'<a href="#{name}">{markup.escaped(heading)}</a>'
    for name, (heading, _) in parts.items()
  )
  body = "".join(markup.section(name, *part) for name, part in parts.items())
  return _document(
    first.name,
    f"<header>{tables.header(first)}<nav>{menu}</nav></header>"
    f"<main>{body}</main>",
  )


def _document(title: str, body: str) -> str:
  style, script = _resource("report.css"), _resource("report.js")
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  # Nothing is loaded, and no script runs but the one that belongs here.
  policy = (
    "default-src 'none'; style-src 'unsafe-inline';"
    f" script-src 'sha256-{digest}'"
  )
  return (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    f"<title>{markup.escaped(title)}</title><style>{style}</style></head>"
    f"<body>{body}<script>{script}</script></body></html>\n"
  )


def _resource(name: str) -> str:
  files = resources.files("rlvr_jax.reporting")
  return (files / name).read_text(encoding="utf-8")
