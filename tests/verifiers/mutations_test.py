r"""The truth of the mutations, checked by other means than made them."""

import collections

import pytest

from rlvr_jax.verifiers import answers
from rlvr_jax.verifiers import forms
from rlvr_jax.verifiers import golds
from rlvr_jax.verifiers import mutations

_DRAWN = [golds.recognised(text) for text in golds.generated(900, seed=3)]
_NUMBERS = ("integer", "fraction", "decimal", "percent")


def _value(text):
  found = answers.number(text, strip_units=True)
  return found and found[0]


def _of_kind(*kinds):
  return [gold for gold in _DRAWN if gold.kind in kinds]


def test_forms_of_a_number_have_its_value():
  read, unread = 0, collections.Counter()
  for gold in _of_kind(*_NUMBERS):
    for name, text in forms.equivalent(gold).items():
      if name == "word":
        text = text.replace(r"\text{ percent}", r"\%")
      value = _value(text)
      read += value is not None
      unread[name] += value is None
      assert value in (None, _value(gold.text)), (gold, name, text)
  # Which `answers.number` does not know.
  assert set(+unread) == {"sum", "mixed"}
  assert read > 2_000


def test_near_misses_of_a_number_have_other_values():
  for gold in _of_kind(*_NUMBERS):
    found = forms.near_misses(gold)
    assert len(found) >= 3 or gold.value == 0, gold
    for name, text in found.items():
      value = _value(text)
      assert value is not None, (gold, name, text)
      assert value != _value(gold.text), (gold, name, text)


def test_forms_of_a_radical_square_to_the_same():
  for gold in _of_kind("radical"):
    factor, radicand = gold.value
    found = forms.equivalent(gold)
    size = factor**2 * radicand
    assert found["under_root"].endswith(rf"\sqrt{{{size}}}")
    assert rf"\frac{{{abs(factor) * radicand}}}" in found["over_root"]
    for name, text in forms.near_misses(gold).items():
      other = golds.recognised(text)
      if other.kind == "radical":
        a, b = other.value
        assert (a > 0, a**2 * b) != (factor > 0, size), (gold, name, text)
      else:
        assert other.value**2 != size, (gold, name, text)


@pytest.mark.parametrize("kind", ["tuple", "set", "interval", "polynomial"])
def test_near_misses_of_a_structure_have_other_values(kind):
  order = {"tuple": tuple, "set": frozenset}.get(kind, lambda value: value)
  for gold in _of_kind(kind):
    for name, text in forms.near_misses(gold).items():
      other = golds.recognised(text)
      if name == "renamed":
        assert golds.recognised(text.replace("y", "x")).value == gold.value
        assert "x" not in text
      elif other.kind == kind:
        assert order(other.value) != order(gold.value), (gold, name, text)
      else:
        assert name.endswith(("missing", "dropped", "flipped")), (name, text)


@pytest.mark.parametrize(
  "text, expected",
  [
    (
      "[1, 5)",
      {
        "left_right": r"\left[1, 5\right)",
        "tight": "[1,5)",
        "membership": r"x \in [1, 5)",
        "inequality": r"1 \le x < 5",
      },
    ),
    (
      r"\{1, 2, 3\}",
      {
        "reordered": r"\{3, 2, 1\}",
        "left_right": r"\left\{1, 2, 3\right\}",
        "listed": "3, 2, 1",
        "listed_with_and": r"3, 2 \text{ and } 1",
        "member_twice": r"\{3, 3, 2, 1\}",
      },
    ),
    (
      "3x^{2} - x",
      {
        "reordered": "-x + 3x^{2}",
        "times": r"3 \cdot x^{2} - x",
        "tight": "3x^{2}-x",
        "over_two": r"\frac{6x^{2} - 2x}{2}",
        "in_parentheses": r"\left(3x^{2} - x\right)",
      },
    ),
    (
      "(1, -2)",
      {
        "left_right": r"\left(1, -2\right)",
        "tight": "(1,-2)",
        "assignment": "P = (1, -2)",
      },
    ),
  ],
)
def test_forms_of_a_structure(text, expected):
  assert forms.equivalent(golds.recognised(text)) == expected


@pytest.mark.parametrize(
  "text, inequality",
  [
    (r"(-\infty, 3]", r"x \le 3"),
    (r"(-\infty, 3)", "x < 3"),
    (r"[3, \infty)", r"x \ge 3"),
    (r"(3, \infty)", "x > 3"),
  ],
)
def test_a_half_line_as_an_inequality(text, inequality):
  found = forms.equivalent(golds.recognised(text))
  assert found["inequality"] == inequality


@pytest.mark.parametrize(
  "text", ["0", "1", "-1", "10", "0.5", r"1\%", r"\sqrt{2}", r"\sqrt{4}", "x"]
)
def test_small_golds_are_not_mistaken_for_their_misses(text):
  gold = golds.recognised(text)
  for name, miss in forms.near_misses(gold).items():
    assert miss != text and _value(miss) != (_value(text) or "none"), name
  assert forms.decoy(gold) != text


def test_every_variant_says_what_it_is():
  groups = collections.Counter()
  for gold in _DRAWN[:90]:
    found = mutations.variants(gold.text, seed=0)
    names = [variant.kind for variant in found]
    assert len(set(names)) == len(names)
    for variant in found:
      group = variant.kind.partition("/")[0]
      groups[group] += 1
      assert variant.should_be_correct == (group == "equivalent")
    by_kind = {variant.kind: variant.response for variant in found}
    assert by_kind["equivalent/bare_box"] == rf"\boxed{{{gold.text}}}"
    assert by_kind["directed/gold_in_thoughts"].count(r"\boxed{") == 2
    last = by_kind["junk/boxes_apart"].rpartition(r"\boxed{")[2]
    assert last.startswith(forms.decoy(gold))
  assert set(groups) == {"equivalent", "near_miss", "junk", "directed"}
  assert min(groups.values()) > 300


def test_the_wording_depends_on_seed_and_gold_alone():
  first = mutations.variants("12", seed=0)
  assert mutations.variants("12", seed=0) == first
  other = mutations.variants("12", seed=1)
  assert other != first
  assert {v.kind for v in other} == {v.kind for v in first}


def test_a_gold_of_another_kind_has_no_forms():
  kinds = {v.kind for v in mutations.variants(r"\text{Monday}", seed=0)}
  assert not [kind for kind in kinds if kind.startswith("near_miss/")]
  assert "equivalent/as_it_is" in kinds and "junk/false_equation" in kinds


def test_one_gold_in_a_hundred_has_a_response_without_end():
  endless = [
    variant
    for gold in _DRAWN
    for variant in mutations.variants(gold.text, seed=0)
    if variant.kind == "junk/endless"
  ]
  assert 1 <= len(endless) <= 25
