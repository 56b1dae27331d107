"""Unit tests of programs as golds, and what counts as the same.

A gold is JSON, in one of three forms:

  {"inputs": [text, ...], "outputs": [text, ...]}
      what the program reads and has to write; a list of lines is a text
  {"fn_name": name, "inputs": [[argument, ...], ...], "outputs": [value, ...]}
      calls of its function, or of the method of its class Solution
  {"asserts": [statement, ...]}
      such as "assert f(2) == 4"

Every form needs one test at least: without any, all programs would pass.
"""

import ast
import json
import math
import re
from typing import Any, NamedTuple

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


class Pairs(NamedTuple):
  """What the program reads, and what it has to write.

  Example: Pairs((("1 2\\n", "3\\n"),)).
  """

  tests: tuple[tuple[str, str], ...]


class Calls(NamedTuple):
  """Arguments of a function, and the value that it has to return.

  Example: Calls("add", (([1, 2], 3),)).
  """

  name: str
  tests: tuple[tuple[list, Any], ...]


class Assert(NamedTuple):
  """A statement that has to hold.

  Attributes:
    statement: the whole of it.
    expression: the side that is to be computed; None if the statement is not
      of the form `assert expression == literal`.
    value: the literal.
  """

  statement: str
  expression: str | None
  value: Any


class Asserts(NamedTuple):
  """Statements that have to hold.

  Example: Asserts((Assert("assert f(2) == 4", "f(2)", 4),)).
  """

  tests: tuple[Assert, ...]


def read(gold: str) -> Pairs | Calls | Asserts | None:
  """The tests of a gold; None if it is of no form above."""
  try:
    found = json.loads(gold)
    if not isinstance(found, dict):
      return None
    if "asserts" in found:
      return _asserts(found["asserts"])
    inputs, outputs = found["inputs"], found["outputs"]
    if not all(isinstance(x, list) and x for x in (inputs, outputs)):
      return None
    if "fn_name" in found:
      return _calls(found["fn_name"], inputs, outputs)
    texts = zip(map(_text, inputs), map(_text, outputs), strict=True)
    return Pairs(tuple(texts))
  except (KeyError, RecursionError, SyntaxError, TypeError, ValueError):
    return None


def same_output(found: str, expected: str, *, tolerance: float) -> bool:
  """Whether a program wrote what it should.

  Line by line and word by word: space at the ends of lines and of the whole,
  and how much of it stands between words, does not count. Two words that are
  numbers, one of them with a point or an exponent, may differ as
  `same_number` says.

  Example: same_output("1  2.0000001\\n", "1 2.0", tolerance=1e-6).
  """
  lines, wanted = (x.strip().split("\n") for x in (found, expected))
  if len(lines) != len(wanted):
    return False
  return all(
    _same_words(line.split(), words.split(), tolerance)
    for line, words in zip(lines, wanted, strict=True)
  )


def same_value(found: Any, expected: Any, *, tolerance: float) -> bool:
  """Whether a function returned what it should, both as JSON has them.

  Tuples are lists there and keys are texts. An expected value in a list of its
  own is expected bare as well, since some data sets wrap every value.

  Example: same_value((1, 2), [1, 2], tolerance=0.0); same_value(3, [3],
  tolerance=0.0).

  Raises:
    TypeError: if the value found is none of JSON.
    ValueError: likewise.
  """
  found = json.loads(json.dumps(found))
  if _same(found, expected, tolerance):
    return True
  is_wrapped = isinstance(expected, list) and len(expected) == 1
  return is_wrapped and _same(found, expected[0], tolerance)


def same_number(found: float, expected: float, *, tolerance: float) -> bool:
  """Whether two numbers differ by no more than tolerance * max(1, expected)."""
  if found == expected:
    return True
  try:
    gap = abs(found - expected)
    return math.isfinite(gap) and gap <= tolerance * max(1.0, abs(expected))
  except OverflowError:
    return False


def decoded(code: Any) -> Any:
  """What `code_harness.encoded` encoded.

  Raises:
    KeyError, TypeError or ValueError: if nothing was.
  """
  if not isinstance(code, dict):
    return code
  ((kind, content),) = code.items()
  if kind == "bytes":
    return bytes.fromhex(content)
  if kind == "complex":
    return complex(*content)
  if kind == "dict":
    return {decoded(key): decoded(value) for key, value in content}
  kinds = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
  return kinds[kind](decoded(x) for x in content)


def _text(lines: Any) -> str:
  text = "\n".join(lines) if isinstance(lines, list) else lines
  if not isinstance(text, str):
    raise TypeError("neither a text nor lines")
  return text


def _calls(name: Any, inputs: Any, outputs: Any) -> Calls | None:
  if not isinstance(name, str) or not name.isidentifier():
    return None
  if not all(isinstance(arguments, list) for arguments in inputs):
    return None
  return Calls(name, tuple(zip(inputs, outputs, strict=True)))


def _asserts(statements: Any) -> Asserts | None:
  if not isinstance(statements, list) or not statements:
    return None
  return Asserts(tuple(map(_assert, statements)))


def _assert(statement: str) -> Assert:
  """A statement, taken apart if a value can be compared outside.

  Raises:
    SyntaxError or ValueError: if it is no Python.
  """
  body = ast.parse(statement).body
  if not body:
    raise ValueError("no statement")
  if len(body) == 1 and isinstance(body[0], ast.Assert):
    test = body[0].test
    if isinstance(test, ast.Compare) and [type(x) for x in test.ops] == [
      ast.Eq
    ]:
      sides = (test.left, test.comparators[0])
      for computed, literal in (sides, sides[::-1]):
        try:
          value = ast.literal_eval(literal)
        except (MemoryError, TypeError, ValueError):
          continue
        return Assert(statement, ast.unparse(computed), value)
  return Assert(statement, None, None)


def _same_words(
  found: list[str], expected: list[str], tolerance: float
) -> bool:
  return len(found) == len(expected) and all(
    word == wanted or _same_numerals(word, wanted, tolerance)
    for word, wanted in zip(found, expected, strict=True)
  )


def _same_numerals(found: str, expected: str, tolerance: float) -> bool:
  texts = (found, expected)
  if not all(_NUMBER.fullmatch(text) for text in texts):
    return False
  if all(text.lstrip("+-").isdigit() for text in texts):
    return False
  return same_number(float(found), float(expected), tolerance=tolerance)


def _same(found: Any, expected: Any, tolerance: float) -> bool:
  if isinstance(found, list) and isinstance(expected, list):
    return len(found) == len(expected) and all(
      _same(x, y, tolerance) for x, y in zip(found, expected, strict=True)
    )
  if isinstance(found, dict) and isinstance(expected, dict):
    return found.keys() == expected.keys() and all(
      _same(value, expected[key], tolerance) for key, value in found.items()
    )
  if isinstance(found, float) or isinstance(expected, float):
    numbers = all(type(x) in (int, float) for x in (found, expected))
    return numbers and same_number(found, expected, tolerance=tolerance)
  return found == expected
