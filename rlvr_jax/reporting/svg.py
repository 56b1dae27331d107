"""An SVG file as a part of a page: colours of its own, ids that are unique."""

import io
import re
from xml.etree import ElementTree

from rlvr_jax.metrics import curves

# A style in a part of a page is one of the whole page.
_LEFT_OUT = ("metadata", "style")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# What stands for each colour of a chart; report.css has two values of each.
_VARIABLES = {
  curves.INK: "var(--ink)",
  curves.FAINT: "var(--faint)",
  **{
    colour: f"var(--series-{number})"
    for number, colour in enumerate(curves.COLOURS)
  },
}


def inlined(text: str, name: str, says: str) -> str:
  """The <svg> element of a file, to stand in a page beside others.

  Args:
    text: of a file that matplotlib wrote.
    name: put before every id.
    says: what a reader who sees nothing is told; any text.
  """
  root = ElementTree.parse(io.StringIO(text)).getroot()
  for parent in root.iter():
    for child in list(parent):
      if _local(child.tag) in _LEFT_OUT:
        parent.remove(child)
  for element in root.iter():
    element.tag = _local(element.tag)
    element.attrib = {
      _local(key): _value(_local(key), value, name)
      for key, value in element.attrib.items()
    }
  # The page decides how wide it is; the viewBox keeps its shape.
  root.attrib.pop("width", None)
  root.attrib.pop("height", None)
  root.attrib |= {"role": "img", "aria-label": says}
  return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
  """A name without its namespace, as HTML has it."""
  return name.rpartition("}")[2]


def _value(key: str, value: str, name: str) -> str:
  if key == "id":
    return f"{name}-{value}"
  if key == "href":
    return value.replace("#", f"#{name}-", 1)
  value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
  for colour, variable in _VARIABLES.items():
    value = value.replace(colour, variable)
  return value
