"""Golds of unit tests are read as their data sets mean them."""

import json

import pytest

from rlvr_jax.verifiers import code_harness
from rlvr_jax.verifiers import unit_tests


@pytest.mark.parametrize(
  "gold, tests",
  [
    (
      {"inputs": ["1\n", ["2", "3"]], "outputs": [["1"], "5"]},
      unit_tests.Pairs((("1\n", "1"), ("2\n3", "5"))),
    ),
    (
      {"fn_name": "f", "inputs": [[1, [2]], []], "outputs": [[3], None]},
      unit_tests.Calls("f", (([1, [2]], [3]), ([], None))),
    ),
    (
      {"asserts": ["assert -1 == f(2), 'x'", "x = 1; assert x"]},
      unit_tests.Asserts(
        (
          unit_tests.Assert("assert -1 == f(2), 'x'", "f(2)", -1),
          unit_tests.Assert("x = 1; assert x", None, None),
        )
      ),
    ),
  ],
)
def test_the_three_forms_are_read(gold, tests):
  assert unit_tests.read(json.dumps(gold)) == tests


@pytest.mark.parametrize(
  "statement, is_outside",
  [
    ("assert f(1) == [1, (2, {'a': {3}})]", True),
    ("assert f(1) == -1.5e3", True),
    ("assert sorted(f(1)) == []", True),
    ("assert 2 == f(1)", True),
    ("assert f(1) == g(2)", False),
    ("assert f(1) != 2", False),
    ("assert f(1) == 2 == g(1)", False),
    ("assert f(1)", False),
    ("assert not f(1)", False),
    ("assert f(1) is None", False),
    ("assert math.isclose(f(1), 2.5)", False),
    ("assert f(1) == float('inf')", False),
    ("check(f)", False),
  ],
)
def test_an_assert_of_a_literal_is_compared_outside(statement, is_outside):
  tests = unit_tests.read(json.dumps({"asserts": [statement]}))
  assert (tests.tests[0].expression is not None) == is_outside


@pytest.mark.parametrize(
  "gold",
  [
    "",
    "[]",
    "3",
    "{",
    "[" * 100_000,
    '{"inputs": [], "outputs": []}',
    '{"inputs": ["1"], "outputs": []}',
    '{"inputs": ["1"]}',
    '{"inputs": "1", "outputs": "2"}',
    '{"inputs": [1], "outputs": ["2"]}',
    '{"inputs": [{"a": 1}], "outputs": ["2"]}',
    '{"inputs": ["1"], "outputs": [[2]]}',
    '{"fn_name": "f", "inputs": ["1"], "outputs": ["2"]}',
    '{"fn_name": "", "inputs": [[]], "outputs": ["2"]}',
    '{"fn_name": 3, "inputs": [[]], "outputs": ["2"]}',
    '{"asserts": []}',
    '{"asserts": "assert 1"}',
    '{"asserts": ["assert f(1) =="]}',
    '{"asserts": ["# nothing"]}',
    '{"asserts": [3]}',
  ],
)
def test_what_is_no_test_is_not_read(gold):
  assert unit_tests.read(gold) is None


@pytest.mark.parametrize(
  "found, expected, same",
  [
    ("1 2\n3\n", "1 2\n3", True),
    ("1 2  \n3\n\n", "1  2\n3", True),
    ("1\r\n2\r\n", "1\n2\n", True),
    ("1 2 3", "1 2\n3", False),
    ("1\n\n2", "1\n2", False),
    ("", "", True),
    ("", "1", False),
    ("Yes", "YES", False),
    ("1.0000001", "1.0", True),
    ("1.0", "1", True),
    ("0.0000001", "0.0", True),
    ("1.00001", "1.0", False),
    ("1e6", "1000000.5", True),
    ("1000000", "1000001", False),
    ("01", "1", False),
    ("1_0", "10.0", False),
    ("nan", "nan", True),
    ("nan", "1.0", False),
    ("1e999", "1.0", False),
    ("a 1.0000001", "a 1.0", True),
  ],
)
def test_output_is_compared_by_lines_and_words(found, expected, same):
  assert unit_tests.same_output(found, expected, tolerance=1e-6) == same


@pytest.mark.parametrize(
  "found, expected, same",
  [
    ((1, (2,)), [1, [2]], True),
    (3, [3], True),
    ([3], [3], True),
    ([1, 2], [[1, 2]], True),
    (1, [1, 2], False),
    ([1], 1, False),
    ({1: (2,)}, {"1": [2]}, True),
    ({"1": 2, "2": 3}, {"1": 2}, False),
    (0.1 + 0.2, 0.3, True),
    ([0.30001], [0.3], False),
    (2, 2.0, True),
    ("2", 2, False),
    ("2.0000001", "2.0", False),
    (None, False, False),
    (float("nan"), 1.0, False),
    (float("inf"), float("inf"), True),
    (10**400, 1.0, False),
    (True, 1.0, False),
  ],
)
def test_values_are_compared_as_json_has_them(found, expected, same):
  assert unit_tests.same_value(found, expected, tolerance=1e-6) == same


def test_without_tolerance_floats_are_exact():
  assert not unit_tests.same_value(0.1 + 0.2, 0.3, tolerance=0.0)
  assert not unit_tests.same_output("1.0000001", "1.0", tolerance=0.0)


def test_what_the_harness_encodes_comes_back():
  values = [
    None,
    True,
    1,
    1.5,
    "x",
    b"x",
    1 + 2j,
    [1, (2, 3)],
    {(1, 2): [3], "a": {4}},
    frozenset({(5,)}),
    {},
    (),
    set(),
  ]
  for value in values:
    text = json.dumps(code_harness.encoded(value))
    found = unit_tests.decoded(json.loads(text))
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
  "code",
  [{}, {"list": 1}, {"x": []}, {"set": [{"list": []}]}, {"bytes": 3}],
)
def test_what_nobody_encoded_is_an_error(code):
  with pytest.raises((KeyError, TypeError, ValueError)):
    unit_tests.decoded(code)
