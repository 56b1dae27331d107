"""Texts as HTML."""

import json

from rlvr_jax.reporting import markup
from tests import made_run


def test_what_no_page_shows_is_replaced():
  text = markup.clean("a\x00b\ud800c\td\ne\x1b")
  assert text == "a\ufffdb\ufffdc\td\ne\ufffd"
  text.encode()


def test_a_text_without_end_gets_one():
  text = markup.clean("x" * (markup.MOST_CHARS + 5))
  assert text.endswith("... (5 more characters)")


def test_no_text_ends_its_element():
  text = markup.data("x", {"text": markup.clean(made_run.HOSTILE)})
  inside = text.removeprefix('<script type="application/json" id="x">')
  inside = inside.removesuffix("</script>")
  assert "<" not in inside
  assert json.loads(inside)["text"] == markup.clean(made_run.HOSTILE)
  assert '"' not in markup.escaped('"<>&')


def test_cells_are_escaped():
  text = markup.table(("<a>", "b"), [("<c>", "<d>")])
  assert "<c>" not in text and "&lt;d&gt;" in text
