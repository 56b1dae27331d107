"""Charts inside of a page."""

import re

from rlvr_jax.metrics import curves
from rlvr_jax.reporting import charts
from rlvr_jax.reporting import svg


def _inlined(name):
  def draw(axes):
    axes.plot([1, 2, 3], marker="o")
    axes.set_title(f"<{name}>")

  return svg.inlined(charts.render(draw, name).svg, name, "a & b")


def test_ids_of_two_charts_differ_and_references_follow():
  first, second = _inlined("one"), _inlined("two")
  ids = lambda text: set(re.findall(r'\bid="([^"]+)"', text))
  assert ids(first) and not ids(first) & ids(second)
  for text in (first, second):
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
    assert used and set(used) <= ids(text)


def test_colours_are_the_pages():
  text = _inlined("one")
  assert "var(--ink)" in text and "var(--series-0)" in text
  assert curves.INK not in text and curves.COLOURS[0] not in text


def test_nothing_of_a_file_is_left():
  text = _inlined("one")
  assert text.startswith("<svg")
  for word in ("xmlns", "http", "metadata", "<style"):
    assert word not in text
  assert 'aria-label="a &amp; b"' in text
  # Texts stay texts, for searching and for reading aloud.
  assert "&lt;one&gt;" in text
