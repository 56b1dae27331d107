r"""Mathematical equality, as the library math-verify sees it.

What is ours is which text the library reads; the verdict is its own:

  1. A response with a box is judged by that box alone (`boxed`): what stands
     around it neither helps nor harms, and past an empty box nothing is read.
  2. A response without a box is judged by what the library finds in its last
     `PROSE_CHARS` characters: a formula or a number, by preference after
     "answer". It has to be said as an answer (`is_told_as_answer`); a number in
     passing is "unparsed", and with boxed_only every one is.
  3. A box that the library cannot read as a whole is text, no value: it would
     look for a number inside. An equation of unequal numbers is wrong.
  4. A gold without math delimiters is put in a box: of a bare 2\sqrt{3} the
     library would read the 2.

Both are parsed with `EXTRACTION`: boxes before everything else, since with the
library's default a sentence "the final answer is" beats the box; then
formulas, then plain numbers, since golds and responses of real data hold all
three. The same setting serves both sides: the library keeps compiled patterns
for one setting at a time.

The library's own time limits are off. They are alarms of the process, which
long arithmetic does not hear; `pool` stops whatever runs too long.
"""

import functools
import logging
import re

from rlvr_jax import errors
from rlvr_jax.outcomes import Judged
from rlvr_jax.verifiers import boxed

try:
  import math_verify
  import sympy
except ImportError as error:
  raise errors.UserError(
    "verifier 'math' needs the package math-verify: pip install"
    " 'math-verify[antlr4_13_2]'"
  ) from error

EXTRACTION = (
  math_verify.LatexExtractionConfig(boxed_match_priority=0),
  math_verify.ExprExtractionConfig(),
)
PROSE_CHARS = 1_000
# Its parser takes seconds for so many parentheses already.
MAX_ANSWER_CHARS = 500

# What a reader would not take for one value, and the library does: nothing
# shown, two values side by side, and words that take the value back.
_NO_VALUE = re.compile(
  r"\\[hv]?phantom\b"
  r"|[^,;\s]\s*\\q?quad\b(?!\s*(?:\\(?:text|mbox|mathrm)|$))"
  r"|\\(?:text\w*|mbox|mathrm)\s*\{[^{}]*"
  r"\b(?:not|wrong|incorrect|false|but|maybe|perhaps)\b"
)
# A formula or a number, its first and its last digit included.
_VALUE = re.compile(
  r"\$\$.+?\$\$|\$[^$]+\$|\\\(.+?\\\)|\\\[.+?\\\]|\d(?:[\d.,/]*\d)?", re.DOTALL
)
_ANNOUNCED = re.compile(r"(?i)\banswer\b[^\n.!?]*?(?:\bis\b|[:=])")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n")
# Words that may follow an answer in its sentence, such as a unit.
_MAX_WORDS_AFTER = 3
_DELIMITED = re.compile(r"(?<!\\)\$[^$]+(?<!\\)\$|\\\(|\\\[", re.DOTALL)
# It warns of time limits being off, which is what we want.
for _name in ("math_verify.parser", "math_verify.grader"):
  logging.getLogger(_name).setLevel(logging.ERROR)


def equivalent(
  response: str,
  gold: str,
  *,
  boxed_only: bool = False,
  several: str = "last",
  think_end: str = boxed.THINK_END,
  tail_chars: int = boxed.TAIL_CHARS,
) -> Judged:
  r"""Whether the answer of a response equals the gold mathematically.

  Example: equivalent(r"So \boxed{0.5}.", r"\frac{1}{2}") is
  ("correct", "0.5").

  Run it in a `pool.Pool`: some answers take for ever, such as 9^{9^{9^9}}.

  Args:
    response: what the policy wrote.
    gold: the right answer: LaTeX, plain or delimited, or a text with a box.
    boxed_only: a response without a box is "unparsed".
    several: which box counts, see `boxed.SEVERAL`.
    think_end: only what follows it is searched; "" for all.
    tail_chars: so many characters at the end are searched.

  Returns:
    "correct", "wrong", "unparsed" or "gold_unparsed", and what was judged.
    An answer of more than `MAX_ANSWER_CHARS` is "unparsed", as is one that
    shows nothing, or that words take back.

  Raises:
    Exception: whatever the library raises; its errors are not "wrong".
  """
  right = parsed_gold(gold)
  answer = boxed.answer_text(
    response, several=several, think_end=think_end, tail_chars=tail_chars
  )
  if not right:
    return Judged("gold_unparsed", answer)
  prose = boxed.searched(response, think_end=think_end, tail_chars=PROSE_CHARS)
  if answer is None and not boxed_only and is_told_as_answer(prose):
    text = prose
  elif answer and not _is_unclear(answer):
    text = rf"\boxed{{{answer}}}"
  else:
    return Judged("unparsed", answer)
  found = _parsed(text, whole=answer is not None)
  if any(_is_false(value) for value in found):
    return Judged("wrong", answer)
  if answer is None:
    answer = next((x for x in found if isinstance(x, str)), None)
  # Some of its simplifications draw test points: the same ones for any item.
  sympy.core.random.seed(0)
  if math_verify.verify(
    [*right], found, timeout_seconds=None, raise_on_error=True
  ):
    return Judged("correct", answer)
  readable = any(not isinstance(x, str) for x in found)
  return Judged("wrong" if readable else "unparsed", answer)


@functools.lru_cache(maxsize=4096)
def equivalent_in_box(response: str, gold: str) -> Judged:
  r"""`equivalent` for responses that have to box their answer.

  Without a box, an answer named in passing would count: a policy could try
  several.

  Example: equivalent_in_box("It is 0.5.", "1/2").outcome is "unparsed".

  Args:
    response: what the policy wrote.
    gold: the right answer.
  """
  return equivalent(response, gold, boxed_only=True)


def is_told_as_answer(prose: str) -> bool:
  r"""Whether prose without a box says a value as its answer.

  Either after "answer is" or "answer:", where the value ends its sentence, or
  without, where the last value ends the text; a unit may follow in both.

  Example: True of "The answer is $5$ apples. I hope so." and "So it is 5.",
  False of "I tried $5$, but it fails."

  Args:
    prose: any text.
  """
  announced = [*_ANNOUNCED.finditer(prose)]
  if announced:
    value = _VALUE.search(prose, announced[-1].end())
    after = _SENTENCE_END.split(prose[value.end() :], 1)[0] if value else ""
  else:
    *_, value = [None, *_VALUE.finditer(prose)]
    after = prose[value.end() :] if value else ""
  if value is None or re.search("[,;:?]", after):
    return False
  return len(re.findall(r"\w+", after)) <= _MAX_WORDS_AFTER


def parsed_gold(gold: str) -> tuple:
  """A gold as the library parses it; () if it has no value to compare with.

  A gold that is only text to the library, or is not a number (1/0), cannot be
  compared: right answers in other words would be scored wrong.
  """
  found = _parsed(gold_text(gold))
  values = [x for x in found if not isinstance(x, str)]
  undefined = (sympy.nan, sympy.zoo)
  if not values or any(value.has(*undefined) for value in values):
    return ()
  return tuple(found)


def gold_text(gold: str) -> str:
  r"""A gold as the library is given it: in a box, unless it is delimited."""
  answer = boxed.answer_text(gold, think_end="", tail_chars=len(gold))
  if answer is None and _DELIMITED.search(gold):
    return gold
  return rf"\boxed{{{gold if answer is None else answer}}}"


def _is_unclear(answer: str) -> bool:
  return len(answer) > MAX_ANSWER_CHARS or bool(_NO_VALUE.search(answer))


def _is_false(value) -> bool:
  """Whether it is an equation, or a chain of them, that nothing solves.

  Of 3 = 4 the library would take the 4, and of x + 1 = x the x.
  """
  parts = getattr(value, "_unsorted_args", (value,))
  return any(isinstance(x, sympy.Eq) and _differ(*x.args) for x in parts)


def _differ(left, right) -> bool:
  """Whether two sides are a number apart, other than 0."""
  if not all(isinstance(side, sympy.Expr) for side in (left, right)):
    return False
  if left.is_number and right.is_number:
    return sympy.Eq(left, right).doit() == sympy.false
  difference = sympy.expand(left - right)
  return bool(difference.is_number and difference != 0)


def _parsed(text: str, *, whole: bool = False) -> list:
  """What the library reads in a text.

  Args:
    text: any.
    whole: a box that it cannot read as a whole is text; else it looks for a
      number or a fraction inside, and of 3 \\color{white} 4 takes the 4.
  """
  return math_verify.parse(
    text,
    extraction_mode="first_match" if whole else "any_match",
    extraction_config=EXTRACTION,
    parsing_timeout=None,
    raise_on_error=True,
  )
