r"""Golds are recognised, drawn and written."""

from fractions import Fraction

import pytest

from rlvr_jax.verifiers import golds


@pytest.mark.parametrize(
  "text, kind, value",
  [
    ("-12", "integer", -12),
    ("007", "integer", 7),
    (r"-\frac{3}{4}", "fraction", Fraction(-3, 4)),
    ("3/4", "fraction", Fraction(3, 4)),
    ("0.250", "decimal", Fraction(1, 4)),
    (r"12.5\%", "percent", Fraction(25, 2)),
    (r"2\sqrt{3}", "radical", (2, 3)),
    (r"-\sqrt{3}", "radical", (-1, 3)),
    ("(3, -1)", "tuple", (3, -1)),
    ("(1,2,3)", "tuple", (1, 2, 3)),
    ("[1, 5)", "interval", ("[", "1", "5", ")")),
    (r"(-\infty, 3]", "interval", ("(", r"-\infty", "3", "]")),
    (r"\{1, 2\}", "set", (1, 2)),
    ("3x^{2} - x + 5", "polynomial", {2: 3, 1: -1, 0: 5}),
    ("-x^3+x", "polynomial", {3: -1, 1: 1}),
    ("x", "polynomial", {1: 1}),
    ("5/0", "other", None),
    ("[5, 5)", "other", None),
    ("[5, 1]", "other", None),
    (r"(\infty, 1]", "other", None),
    ("x - x", "other", None),
    ("", "other", None),
    (r"\pi", "other", None),
    (r"\text{Monday}", "other", None),
  ],
)
def test_a_gold_is_taken_apart(text, kind, value):
  assert golds.recognised(f" {text} ") == golds.Gold(kind, text, value)


def test_drawn_golds_are_of_every_kind_in_turn():
  drawn = golds.generated(90, seed=0)
  kinds = [golds.recognised(text).kind for text in drawn]
  assert kinds == [kind for kind in golds.KINDS if kind != "other"] * 10
  assert len(set(drawn)) == 90
  assert golds.generated(20, seed=0) == drawn[:20]
  assert golds.generated(90, seed=1) != drawn


@pytest.mark.parametrize(
  "value, fraction, decimal",
  [
    (Fraction(3), "3", "3"),
    (Fraction(-3, 4), r"-\frac{3}{4}", "-0.75"),
    (Fraction(1, 3), r"\frac{1}{3}", None),
    (Fraction(7, 6), r"\frac{7}{6}", None),
    (Fraction(1, 1000), r"\frac{1}{1000}", "0.001"),
    (Fraction(200), "200", "200"),
  ],
)
def test_numbers_are_written(value, fraction, decimal):
  assert golds.fraction_text(value) == fraction
  assert golds.decimal_text(value) == decimal


def test_polynomials_are_written():
  write = golds.polynomial_text
  assert write({2: -1, 1: 1, 0: -1}) == "-x^{2} + x - 1"
  assert write({0: 5, 1: -3}, times=r" \cdot ", name="y") == r"5 - 3 \cdot y"
