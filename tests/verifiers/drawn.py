"""Texts that hypothesis draws, for verifiers of texts and on device."""

import string

import hypothesis
from hypothesis import strategies as st

from rlvr_jax.verifiers import fragments


def texts(number: int) -> list[str]:
  """About so many, the same on every machine.

  Hypothesis draws from the constants of the modules that it finds imported as
  well, so a text can change with them.
  """
  found = []

  @hypothesis.settings(
    max_examples=number,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(_responses())
  def collect(response):
    found.append(response)

  collect()
  return found


def _responses():
  """Texts of any characters, LaTeX and our fragments, nested and in boxes."""
  pieces = [
    *fragments.SYMBOLS,
    *fragments.BYTES.values(),
    *fragments.GRADER.values(),
    *fragments.CODE.values(),
    *fragments.BACKTRACK.values(),
  ]
  leaf = st.one_of(
    # Of all categories, surrogates included.
    st.text(st.characters(), max_size=30),
    st.text(string.printable, max_size=30),
    st.sampled_from(pieces),
    st.from_regex(r"\\[a-z]{1,8}(\{[0-9x+^]{0,5}\}){0,2}", fullmatch=True),
    st.integers().map(str),
    st.floats().map(str),
  )
  box = lambda text: rf"\boxed{{{text}}}"
  nested = st.recursive(
    leaf,
    lambda inner: st.one_of(
      st.lists(inner, min_size=1, max_size=5).map("".join),
      inner.map(box),
      st.builds(
        lambda pair, depth, text: pair[0] * depth + text + pair[1] * depth,
        st.sampled_from(list(fragments.DEEP.values())),
        st.integers(1, 9),
        inner,
      ),
    ),
    max_leaves=8,
  )
  return st.one_of(nested, nested.map(box), st.builds(_after, nested, nested))


def _after(before, inside):
  return rf"{before} So it is \boxed{{{inside}}}"
