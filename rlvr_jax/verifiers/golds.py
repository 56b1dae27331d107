r"""Right answers of several kinds, drawn from a seed or recognised in a text.

integer     -12, 4080          tuple       (3, -1), (1, 2, 3)
fraction    \frac{3}{4}        interval    [1, 5), (-\infty, 3]
decimal     0.25               set         \{1, 2, 3\}
percent     12.5\%             polynomial  3x^{2} - x + 5
radical     2\sqrt{3}          other       anything else
"""

from fractions import Fraction
import math
import random
import re
from typing import Any, NamedTuple

_BOUND = r"(-?\d+|-?\\infty)"
_FORMS = {
  "integer": re.compile(r"-?\d+"),
  "fraction": re.compile(r"(-?)\\frac\{(\d+)\}\{(\d+)\}|(-?)(\d+)/(\d+)"),
  "decimal": re.compile(r"-?\d+\.\d+"),
  "percent": re.compile(r"(-?\d+(?:\.\d+)?)\\%"),
  "radical": re.compile(r"(-?\d*)\\sqrt\{(\d+)\}"),
  "tuple": re.compile(r"\((-?\d+(?:, ?-?\d+)+)\)"),
  "interval": re.compile(rf"([\[(]){_BOUND}, ?{_BOUND}([\])])"),
  "set": re.compile(r"\\\{(-?\d+(?:, ?-?\d+)*)\\\}"),
  "polynomial": re.compile(
    r"-?(?:\d*x(?:\^\{?\d+\}?)?|\d+)"
    r"(?: ?[-+] ?(?:\d*x(?:\^\{?\d+\}?)?|\d+))*"
  ),
}
_TERM = re.compile(r"([-+]?) ?(\d*)(x?)(?:\^\{?(\d+)\}?)?")
KINDS = (*_FORMS, "other")


class Gold(NamedTuple):
  """A right answer, taken apart.

  Example: Gold("radical", r"2\\sqrt{3}", (2, 3)).

  Attributes:
    kind: a name of `KINDS`.
    text: LaTeX without delimiters.
    value: int of an integer; Fraction of a fraction, decimal or percent (of
      the number before the sign); (coefficient, radicand); tuple of int of a
      tuple or set; (bracket, end, end, bracket) with text ends of an interval;
      {power: coefficient} of a polynomial; else None.
  """

  kind: str
  text: str
  value: Any


def recognised(text: str) -> Gold:
  """What kind of answer a text is; "other" if none of ours."""
  text = text.strip()
  for kind, form in _FORMS.items():
    match = form.fullmatch(text)
    value = _value(kind, match) if match else None
    if value is not None:
      return Gold(kind, text, value)
  return Gold("other", text, None)


def generated(count: int, seed: int) -> list[str]:
  """Different golds, as many of each kind, in turn.

  Args:
    count: how many.
    seed: the same seed gives the same list; a longer one begins with it.
  """
  rng = random.Random(f"golds {seed}")
  kinds = list(_DRAWS)
  found: dict[str, None] = {}
  while len(found) < count:
    draw = _DRAWS[kinds[len(found) % len(kinds)]]
    text = draw(rng)
    while text in found:
      text = draw(rng)
    found[text] = None
  return list(found)


def fraction_text(value: Fraction) -> str:
  """LaTeX of a number, as an integer where it is one."""
  if value.denominator == 1:
    return str(value.numerator)
  sign = "-" if value < 0 else ""
  return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def decimal_text(value: Fraction) -> str | None:
  """All digits of a number; None if they never end."""
  rest = value.denominator
  for prime in (2, 5):
    while rest % prime == 0:
      rest //= prime
  if rest != 1:
    return None
  places = 0
  while (value * 10**places).denominator != 1:
    places += 1
  digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
  whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
  sign = "-" if value < 0 else ""
  return f"{sign}{whole}.{part}" if places else f"{sign}{whole}"


def polynomial_text(
  terms: dict[int, int], *, times: str = "", name: str = "x"
) -> str:
  """LaTeX of {power: coefficient}, in the order of the terms."""
  text = ""
  for power, coefficient in terms.items():
    size = abs(coefficient)
    unknown = (
      "" if power == 0 else name if power == 1 else f"{name}^{{{power}}}"
    )
    number = "" if size == 1 and unknown else str(size)
    sign = "-" if coefficient < 0 else "+"
    between = f" {sign} " if text else "-" if coefficient < 0 else ""
    text += between + number + (times if number and unknown else "") + unknown
  return text


def _value(kind: str, match: re.Match) -> Any:
  """None for what has the form but no value of that kind."""
  text = match[0]
  if kind == "integer":
    return int(text)
  if kind == "fraction":
    sign, top, bottom = [group for group in match.groups() if group is not None]
    if int(bottom) == 0:
      return None
    value = Fraction(int(top), int(bottom))
    return -value if sign else value
  if kind == "decimal":
    return Fraction(text)
  if kind == "percent":
    return Fraction(match[1])
  if kind == "radical":
    coefficient = match[1] + "1" if match[1] in ("", "-") else match[1]
    return int(coefficient), int(match[2])
  if kind in ("tuple", "set"):
    return tuple(int(member) for member in match[1].split(","))
  if kind == "interval":
    _, low, high, _ = match.groups()
    low = -math.inf if low == r"-\infty" else _finite(low)
    high = math.inf if high == r"\infty" else _finite(high)
    return match.groups() if low < high else None
  terms: dict[int, int] = {}
  for sign, digits, unknown, power in _TERM.findall(text):
    if digits or unknown:
      exponent = int(power or 1) if unknown else 0
      coefficient = int(sign.strip() + (digits or "1"))
      terms[exponent] = terms.get(exponent, 0) + coefficient
  return terms if max(terms) > 0 and all(terms.values()) else None


def _finite(end: str) -> float:
  return math.nan if end.endswith("infty") else int(end)


def _integer(rng: random.Random) -> str:
  size = rng.randrange(10 ** rng.randint(1, 6))
  return str(-size if size and rng.random() < 0.2 else size)


def _fraction(rng: random.Random) -> str:
  while True:
    bottom = rng.choice((2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 25, 40, 60))
    value = Fraction(rng.randint(-60, 120), bottom)
    if value.denominator > 1:
      return fraction_text(value)


def _decimal(rng: random.Random) -> str:
  places = rng.randint(1, 3)
  # Without a zero at the end, which would be another form of the number.
  digits = rng.randint(1, 9999) * 10 + rng.randint(1, 9)
  sign = "-" if rng.random() < 0.2 else ""
  return sign + decimal_text(Fraction(digits, 10**places))


def _percent(rng: random.Random) -> str:
  return rf"{rng.randint(1, 199)}{rng.choice(('', '', '.5'))}\%"


def _radical(rng: random.Random) -> str:
  coefficient = rng.randint(2, 30) * rng.choice((1, 1, 1, -1))
  return rf"{coefficient}\sqrt{{{rng.choice((2, 3, 5, 6, 7, 10, 11, 13, 15))}}}"


def _tuple(rng: random.Random) -> str:
  members = [rng.randint(-20, 20) for _ in range(rng.choice((2, 3)))]
  return f"({', '.join(map(str, members))})"


def _interval(rng: random.Random) -> str:
  low = rng.randint(-20, 10)
  high = low + rng.randint(1, 20)
  shape = rng.choice(("[{}, {}]", "[{}, {})", "({}, {}]", "low", "high"))
  if shape == "low":
    return rf"(-\infty, {high}{rng.choice('])')}"
  if shape == "high":
    return rf"{rng.choice('[(')}{low}, \infty)"
  return shape.format(low, high)


def _set(rng: random.Random) -> str:
  members = sorted(rng.sample(range(-20, 40), rng.randint(2, 4)))
  return rf"\{{{', '.join(map(str, members))}\}}"


def _polynomial(rng: random.Random) -> str:
  powers = sorted(rng.sample(range(4), rng.randint(2, 3)), reverse=True)
  terms = {power: rng.choice((-1, 1)) * rng.randint(1, 12) for power in powers}
  return polynomial_text(terms)


_DRAWS = {
  "integer": _integer,
  "fraction": _fraction,
  "decimal": _decimal,
  "percent": _percent,
  "radical": _radical,
  "tuple": _tuple,
  "interval": _interval,
  "set": _set,
  "polynomial": _polynomial,
}
