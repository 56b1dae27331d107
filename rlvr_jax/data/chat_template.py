"""Chat templates: programs that come with checkpoints, run in a sandbox.

The only importer of jinja2.
"""

import datetime
import functools
import importlib
import json
import re
from typing import Any

from rlvr_jax import errors

# A block that some templates put around what an assistant writes; "with" gives
# it the same scope and leaves the text as it is.
_GENERATION = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")


def library(name: str) -> Any:
  """An optional package.

  Raises:
    errors.UserError: if it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise errors.UserError(
      f"reading a tokenizer needs the package {name}: pip install tokenizers"
      " jinja2"
    ) from error


def moment(date: str) -> datetime.datetime:
  try:
    return datetime.datetime.fromisoformat(date)
  except ValueError as error:
    raise errors.UserError(
      f"date is {date!r}: write it as 2026-01-31"
    ) from error


@functools.lru_cache(maxsize=8)
def compiled(template: str, date: str) -> Any:
  """A template with what such programs are allowed to use.

  They come with downloaded files, so they run in jinja2's sandbox.
  """
  jinja2 = library("jinja2")
  sandbox = importlib.import_module("jinja2.sandbox")
  environment = sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.loopcontrols"],
  )

  def raise_exception(message):
    raise jinja2.TemplateError(message)

  def strftime_now(form):
    if not date:
      raise errors.UserError(
        "prints today's date: set `date` to a day such as 2026-01-31, so that"
        " a resumed run sees the same prompts"
      )
    return moment(date).strftime(form)

  def tojson(
    value, ensure_ascii=False, indent=None, separators=None, sort_keys=False
  ):
    # jinja2's own writes < and > for web pages, as \u003c and \u003e.
    return json.dumps(
      value,
      ensure_ascii=ensure_ascii,
      indent=indent,
      separators=separators,
      sort_keys=sort_keys,
    )

  environment.filters["tojson"] = tojson
  environment.globals["raise_exception"] = raise_exception
  environment.globals["strftime_now"] = strftime_now
  return environment.from_string(
    _GENERATION.sub(lambda tag: f"{tag[1]}{tag[2] or ''}with{tag[3]}", template)
  )
