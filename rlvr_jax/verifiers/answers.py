r"""Small verifiers without a library: the same text, or the same number.

  exact    the boxed text is the gold, but for its typesetting
  numeric  the boxed number is the gold

Both read the answer out of the last box (`boxed`); a response without a box is
"unparsed". A gold may stand in a box, and may have math delimiters around it.
"""

from fractions import Fraction
import re

from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.outcomes import Judged
from rlvr_jax.verifiers import boxed

# What a percent sign does: 50\% is 1/2, or it is dropped and 50\% is 50.
PERCENTS = ("fraction", "number")

_MAX_CHARS = 400
_MAX_EXPONENT = 400
_DELIMITERS = re.compile(
  r"\$\$?(.*?)\$\$?|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL
)
_FONTS = re.compile(
  r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox)"
  r"\s*\{([^{}]*)\}"
)
_SPACES = re.compile(r"\\[,;:!> ]|\\q?quad(?![A-Za-z])|~|\s+")
_NO_INK = re.compile(r"\\(?:left|right|displaystyle|textstyle)(?![A-Za-z])")
_FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
# A space counts between two words or numbers only.
_LOOSE_SPACE = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])")
_UNICODE = str.maketrans({"−": "-", "–": "-", "×": r"\times ", "⋅": r"\cdot "})

_PLAIN = r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
  rf"(?P<sign>[-+]?)(?:"
  rf"\\frac\{{(?P<top>-?\d+)\}}\{{(?P<bottom>-?\d+)\}}"
  rf"|\\frac(?P<top1>\d)(?P<bottom1>\d)"
  rf"|\\frac\{{(?P<top2>-?\d+)\}}(?P<bottom2>\d)"
  rf"|(?P<top3>\d+)/(?P<bottom3>-?\d+)"
  rf"|(?P<plain>{_PLAIN})"
  rf"(?:(?:[eE]|\\(?:times|cdot) ?10\^)\{{?(?P<exponent>[-+]?\d+)\}}?)?"
  rf")(?P<percent>%?)",
  re.ASCII,
)
_ASSIGNMENT = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?=")
_CURRENCY = re.compile(r"^([-+]?)(?:\\?\$|€|£|¥)")
# Words and their powers; "or" would make a list a number with a unit. A word
# is taken whole: trying all ways to cut a long one takes for ever.
_UNIT = re.compile(
  r" ?(?:\^?\{?\\circ\}?"
  r"|(?:[ /]?(?!or\b|and\b)[A-Za-z°]++(?:\^\{?-?\d\}?)?)+)"
)
# Two numbers of a list, which are one without the space.
_APART = re.compile(
  r"\s,|(?<!\\)[.,](?:\s|~|\\[,;:> ]|\\q?quad(?![A-Za-z]))+\d"
)


def exact(
  response: str,
  gold: str,
  *,
  several: str = "last",
  think_end: str = boxed.THINK_END,
  tail_chars: int = boxed.TAIL_CHARS,
) -> Judged:
  r"""Whether the box holds the text of the gold.

  Both are compared as `normalized`: letter for letter, case and all.

  Example: exact(r"\boxed{\text{New York}}", "New  York") is
  ("correct", r"\text{New York}"); exact(r"\boxed{0.5}", "1/2") is "wrong".

  Args:
    response: what the policy wrote.
    gold: the right answer.
    several: which box counts, see `boxed.SEVERAL`.
    think_end: only what follows it is searched; "" for all.
    tail_chars: so many characters at the end are searched.

  Returns:
    "correct", "wrong", "unparsed" or "gold_unparsed", and the boxed text.
  """
  answer = boxed.answer_text(
    response, several=several, think_end=think_end, tail_chars=tail_chars
  )
  right = normalized(_unboxed(gold))
  if not right:
    return Judged("gold_unparsed", answer)
  if not answer:
    return Judged("unparsed", answer)
  same = normalized(answer) == right
  return Judged("correct" if same else "wrong", answer)


def numeric(
  response: str,
  gold: str,
  *,
  rel_tol: float = 1e-6,
  percent: str = "fraction",
  strip_units: bool = False,
  several: str = "last",
  think_end: str = boxed.THINK_END,
  tail_chars: int = boxed.TAIL_CHARS,
) -> Judged:
  r"""Whether the box holds the number of the gold.

  Integers and fractions are compared exactly. Where one of the two is written
  with a decimal point or an exponent, it may be off by rel_tol times the gold.

  Example: numeric(r"\boxed{\frac{2}{4}}", "1/2") and
  numeric(r"\boxed{50\%}", "0.5") are "correct"; numeric(r"\boxed{12 cm}",
  "12") is "unparsed", and "correct" with strip_units.

  Args:
    response: what the policy wrote.
    gold: the right answer.
    rel_tol: relative tolerance; 0 compares decimals exactly too.
    percent: a name of `PERCENTS`.
    strip_units: drop letters and degrees after a number, currency before it.
    several: which box counts, see `boxed.SEVERAL`.
    think_end: only what follows it is searched; "" for all.
    tail_chars: so many characters at the end are searched.

  Returns:
    "correct", "wrong", "unparsed" or "gold_unparsed", and the boxed text.

  Raises:
    errors.UserError: if `percent` is none of `PERCENTS` or rel_tol negative.
  """
  settings.require(rel_tol >= 0, f"rel_tol is {rel_tol}: set it to 0 or above")
  if percent not in PERCENTS:
    raise errors.UserError(
      f"percent is {percent!r}: {names.did_you_mean(percent, PERCENTS)}"
    )
  answer = boxed.answer_text(
    response, several=several, think_end=think_end, tail_chars=tail_chars
  )
  read = lambda text: number(text, percent=percent, strip_units=strip_units)
  right = read(_unboxed(gold))
  if right is None:
    return Judged("gold_unparsed", answer)
  found = read(answer) if answer else None
  if found is None:
    return Judged("unparsed", answer)
  (value, value_exact), (wanted, wanted_exact) = found, right
  room = 0 if value_exact and wanted_exact else Fraction(rel_tol) * abs(wanted)
  close = abs(value - wanted) <= room
  return Judged("correct" if close else "wrong", answer)


def number(
  text: str, *, percent: str = "fraction", strip_units: bool = False
) -> tuple[Fraction, bool] | None:
  r"""A number written in text or LaTeX.

  Reads 12, -3, +4, 0012, .5, 1,234,567, 12{,}345, 2/3, -\frac{2}{3},
  \dfrac12, 1.2e-5, 1.2\times10^{4}, 50\%, and "x = 12"; nothing else. With a
  space, 1, 234 are two numbers.

  Returns:
    Its value, and whether it is exact: written without point or exponent.
    None if it is no such number, or one of more than 400 characters, or with
    an exponent beyond 400.
  """
  if len(text) > _MAX_CHARS or _APART.search(text):
    return None
  text = normalized(text).replace("{,}", ",").replace(r"\%", "%")
  assignment = _ASSIGNMENT.match(text)
  text = text[assignment.end() :] if assignment else text
  text = _CURRENCY.sub(r"\1", text) if strip_units else text
  match = _NUMBER.match(text)
  rest = text[match.end() :] if match else text
  if not match or (rest and not (strip_units and _UNIT.fullmatch(rest))):
    return None
  part = match.groupdict()
  if part["plain"]:
    exponent = int(part["exponent"] or 0)
    if abs(exponent) > _MAX_EXPONENT:
      return None
    value = Fraction(part["plain"].replace(",", "").rstrip("."))
    value *= Fraction(10) ** exponent
  else:
    top, bottom = (
      int(next(part[key] for key in part if key.startswith(side) and part[key]))
      for side in ("top", "bottom")
    )
    if bottom == 0:
      return None
    value = Fraction(top, bottom)
  if part["sign"] == "-":
    value = -value
  if part["percent"] and percent == "fraction":
    value /= 100
  written = part["plain"] or ""
  return value, "." not in written and part["exponent"] is None


def normalized(text: str) -> str:
  r"""A text without what only typesets it.

  Drops math delimiters around it, \text, \mathrm and other fonts, \left and
  \right, spacing, and one full stop at the end; \dfrac and \tfrac become
  \frac, and the minus, times and dot signs of Unicode LaTeX. A space between
  two words or two numbers stays, as one space.
  """
  text = text.strip().translate(_UNICODE)
  delimited = _DELIMITERS.fullmatch(text)
  if delimited:
    text = next(group for group in delimited.groups() if group is not None)
  text = _NO_INK.sub("", _FONTS.sub(r"\1", text))
  text = _FRACTIONS.sub(r"\\frac", text)
  text = _SPACES.sub(" ", text).strip()
  text = _LOOSE_SPACE.sub("", re.sub(" +", " ", text))
  return text.removesuffix(".")


def _unboxed(gold: str) -> str:
  answer = boxed.answer_text(gold, think_end="", tail_chars=len(gold))
  return gold if answer is None else answer
