"""Exact value of a RandomCalculation text, by a parser of its own."""

from fractions import Fraction
import re

_TOKEN = re.compile(r"\\frac\{(\d+)\}\{(\d+)\}|(\d+)\^(\d)|(\d+)|([-+*/()])")


def value(text: str) -> Fraction:
  """Evaluates with ordinary precedence and left association."""
  tokens = _tokens(text)
  result, rest = _sum(tokens)
  assert not rest, f"left over: {rest}"
  return result


def _tokens(text):
  tokens, start = [], 0
  while start < len(text):
    match = _TOKEN.match(text, start)
    assert match, text[start:]
    start = match.end()
    numerator, denominator, base, power, integer, symbol = match.groups()
    if numerator:
      tokens.append(Fraction(int(numerator), int(denominator)))
    elif base:
      tokens.append(Fraction(int(base) ** int(power)))
    else:
      tokens.append(symbol or Fraction(int(integer)))
  return tokens


def _sum(tokens):
  total, rest = _product(tokens)
  while rest and rest[0] in ("+", "-"):
    term, after = _product(rest[1:])
    total = total + term if rest[0] == "+" else total - term
    rest = after
  return total, rest


def _product(tokens):
  total, rest = _atom(tokens)
  while rest and rest[0] in ("*", "/"):
    factor, after = _atom(rest[1:])
    total = total * factor if rest[0] == "*" else total / factor
    rest = after
  return total, rest


def _atom(tokens):
  if tokens[0] == "(":
    inner, rest = _sum(tokens[1:])
    assert rest[0] == ")"
    return inner, rest[1:]
  assert isinstance(tokens[0], Fraction), tokens[0]
  return tokens[0], tokens[1:]
