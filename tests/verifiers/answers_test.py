r"""Equal texts, equal numbers."""

from fractions import Fraction
import re
import time

import pytest

from rlvr_jax import errors
from rlvr_jax.verifiers import answers

# Text, value; exact unless it has a point or an exponent.
_NUMBERS = [
  ("12", 12),
  ("-3", -3),
  ("+4", 4),
  ("− 3", -3),
  ("007", 7),
  ("0", 0),
  ("-0", 0),
  ("12.", 12),
  ("1,234,567", 1234567),
  ("12{,}345", 12345),
  ("2/3", Fraction(2, 3)),
  ("-2 / 3", Fraction(-2, 3)),
  ("2/-3", Fraction(-2, 3)),
  (r"\frac{2}{3}", Fraction(2, 3)),
  (r"-\dfrac{2}{3}", Fraction(-2, 3)),
  (r"\tfrac{-2}{3}", Fraction(-2, 3)),
  (r"\frac12", Fraction(1, 2)),
  (r"\frac{11}2", Fraction(11, 2)),
  (r"\frac { 2 } { 3 }", Fraction(2, 3)),
  (r"50\%", Fraction(1, 2)),
  ("50%", Fraction(1, 2)),
  ("x = 12", 12),
  ("x_1=12", 12),
  ("$12$", 12),
  (r"\(12\)", 12),
  (r"\text{12}", 12),
  (r"\, 12 \;", 12),
  (r"\left(12\right)", None),
  ("0.5", Fraction(1, 2)),
  (".5", Fraction(1, 2)),
  ("1,234.5", Fraction(2469, 2)),
  ("12.5%", Fraction(1, 8)),
  ("1.2e4", 12000),
  ("12e-1", Fraction(6, 5)),
  (r"1.2 \times 10^{4}", 12000),
  (r"1.2\cdot10^4", 12000),
  ("1.2×10^-1", Fraction(3, 25)),
  # No numbers, or none that is safe to read.
  ("", None),
  ("x", None),
  ("1 2", None),
  ("1, 2", None),
  ("1, 234", None),
  ("1 ,234", None),
  ("1,\n234", None),
  (r"1,\ 234", None),
  (r"1,\quad 234", None),
  ("1,~234.5", None),
  ("2. 5", None),
  (r"1,\!234", 1234),
  ("1,23", None),
  ("1,2345", None),
  ("--1", None),
  ("1/0", None),
  (r"\frac{1}{0}", None),
  ("12 cm", None),
  (r"\$12", None),
  ("2^3", None),
  (r"2\sqrt{3}", None),
  ("1+1", None),
  ("١٢", None),
  ("1e401", None),
  ("1e999999999999", None),
  ("9" * 401, None),
  ("nan", None),
  ("inf", None),
]


@pytest.mark.parametrize("text, value", _NUMBERS)
def test_a_number_is_read_exactly(text, value):
  found = answers.number(text)
  if value is None:
    assert found is None
  else:
    exact = not re.search(r"\.\d|\de|10\^", text)
    assert found == (value, exact)


@pytest.mark.parametrize(
  "text", ["12 cm", r"12\text{ cm}^2", "12°", r"12^\circ", r"\$12", "€12", "12"]
)
def test_units_go_only_when_told(text):
  assert answers.number(text, strip_units=True) == (12, True)
  assert (answers.number(text) is None) == (text != "12")


@pytest.mark.parametrize("word", ["a" * 390, "ab/" * 130, "m^2" * 130])
def test_a_long_unit_takes_no_time(word):
  start = time.perf_counter()
  assert answers.number(f"12 {word}!", strip_units=True) is None
  assert answers.number(f"12 {word}", strip_units=True) in (None, (12, True))
  assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize(
  "text", [r"12 \text{ or } 13", "12 or x", "12 and more", "12, 13 cm", "12 3"]
)
def test_a_list_is_no_unit(text):
  assert answers.number(text, strip_units=True) is None


def test_percent_is_as_stated():
  assert answers.number(r"50\%", percent="number") == (50, True)
  assert answers.number(r"50\%", percent="fraction") == (Fraction(1, 2), True)
  with pytest.raises(errors.UserError, match="percent is 'fractoin'"):
    answers.numeric("", "1", percent="fractoin")


@pytest.mark.parametrize(
  "response, gold, outcome",
  [
    (r"\boxed{1/2}", r"\frac{2}{4}", "correct"),
    (r"\boxed{0.5}", "1/2", "correct"),
    (r"\boxed{1/3}", "1/3", "correct"),
    (r"\boxed{0.3333334}", "1/3", "correct"),
    (r"\boxed{0.333334}", "1/3", "wrong"),
    (r"\boxed{1000001}", "1000000", "wrong"),
    (r"\boxed{1000000.5}", "1000000", "correct"),
    (r"\boxed{1000001/1000000}", "1", "wrong"),
    (r"\boxed{0.0}", "0", "correct"),
    (r"\boxed{0.0000001}", "0", "wrong"),
    (r"\boxed{5}", r"so \boxed{5}", "correct"),
    (r"\boxed{5}", "$5$", "correct"),
    (r"\boxed{5}, \boxed{6}", "5", "unparsed"),
    (r"\boxed{1}, \boxed{234}", "1234", "unparsed"),
    (r"\boxed{1}, \boxed{234}", "1,234", "unparsed"),
    ("\\boxed{1234}", "1, 234", "gold_unparsed"),
    (r"\boxed{five}", "5", "unparsed"),
    (r"\boxed{}", "5", "unparsed"),
    ("5", "5", "unparsed"),
    (r"\boxed{5}", "five", "gold_unparsed"),
    ("no box", "five", "gold_unparsed"),
    (r"<think>\boxed{5}</think>\boxed{6}", "5", "wrong"),
  ],
)
def test_numeric(response, gold, outcome):
  assert answers.numeric(response, gold).outcome == outcome


def test_the_tolerance_is_relative_to_the_gold():
  judge = lambda answer, **options: (
    answers.numeric(rf"\boxed{{{answer}}}", "200", **options).outcome
  )
  assert judge("202.0", rel_tol=0.01) == "correct"
  assert judge("202.1", rel_tol=0.01) == "wrong"
  assert judge("202", rel_tol=0.01) == "wrong"
  assert judge("200.0", rel_tol=0) == "correct"
  assert judge("200.0000001", rel_tol=0) == "wrong"
  with pytest.raises(errors.UserError, match="rel_tol is -1"):
    judge("1", rel_tol=-1)


@pytest.mark.parametrize(
  "answer, gold, same",
  [
    ("New York", r"\text{New  York}", True),
    (r"\textbf{New York}", "New York", True),
    (r"\text{ (A) }", "(A)", True),
    ("a+b", "$a + b$", True),
    (r"\left( a, b \right)", "(a,b)", True),
    (r"\dfrac{1}{2}", r"\frac{1}{2}", True),
    (r"5 \, ", "5", True),
    ("yes.", "yes", True),
    ("NewYork", "New York", False),
    ("1 2", "12", False),
    ("new york", "New York", False),
    ("0.5", "1/2", False),
    (r"\leftarrow", r"arrow", False),
  ],
)
def test_exact(answer, gold, same):
  judged = answers.exact(rf"So \boxed{{{answer}}}", gold)
  assert judged.outcome == ("correct" if same else "wrong")
  assert judged.answer == answer.strip()


def test_exact_needs_a_box_and_a_gold():
  assert answers.exact("New York", "New York") == ("unparsed", None)
  assert answers.exact(r"\boxed{}", "New York") == ("unparsed", "")
  assert answers.exact(r"\boxed{a}", " ") == ("gold_unparsed", "a")
  assert answers.exact(r"\boxed{a}", r"\boxed{a}").outcome == "correct"


def test_the_settings_of_the_box_are_passed_on():
  response = r"\boxed{1}</think> \boxed{2}" + "x" * 30
  for verifier in (answers.exact, answers.numeric):
    assert verifier(response, "2").outcome == "correct"
    assert verifier(response, "2", tail_chars=20).outcome == "unparsed"
    both = {"several": "same", "think_end": ""}
    assert verifier(response, "2", **both).outcome == "unparsed"
