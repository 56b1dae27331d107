r"""The answer in a box: which part of a response is its answer.

The rules, which every verifier of this room shares:

  1. Where the response holds `think_end`, only what follows the last one is
     searched; of that, only the last `tail_chars` characters.
  2. A box is \boxed or \fbox with an argument in balanced braces; \{ and \}
     are no braces. Without braces it holds a number or a command, up to the
     next space: \boxed 5, \boxed\frac{1}{2}, but not "in \boxed format". If
     its backslash is doubled, as in JSON, so are those inside.
  3. The last box is the answer. A box that is empty, or never closed, is an
     answer all the same: none. It does not uncover the box before it.
  4. Boxes with nothing but separators between them ("," ";" "and" "or" "x =",
     math delimiters, space) are one answer, the list of what they hold: a
     response cannot offer several candidates and have one of them counted.
  5. A box in a box is its content; several in a box are a list.
  6. No markup is special: a box counts in a code block and in a quotation, so
     that nothing can hide the last one.
"""

from collections.abc import Iterable
import re
from typing import NamedTuple

from rlvr_jax import errors
from rlvr_jax import names

THINK_END = "</think>"
TAIL_CHARS = 20_000
# Which of several boxes is the answer: the last; or they must hold the same.
SEVERAL = ("last", "same")

_COMMAND = re.compile(r"\\(\\)?(?:boxed|fbox)(?![A-Za-z])\s*")
_MARKS = re.compile(r"[\\{}]")
_BRACED = r"\{(?:[^{}]|\{[^{}]*\})*\}"
_UNBRACED = re.compile(rf"[-+]?(?:\.?\d|\\[A-Za-z])(?:[^\s${{}}]|{_BRACED})*")
_SEPARATORS = re.compile(
  r"(?:\s|[,;$&]|\\[,;:!()\[\]]|\\q?quad\b|\\(?:text|mathrm)\{\s*(?:and|or)\s*\}"
  r"|\b(?:and|or)\b|[A-Za-z](?:_\{?\w+\}?)?\s*=)*"
)


class Box(NamedTuple):
  """One box of a text.

  Attributes:
    text: what it holds, without boxes inside; "" if empty or never closed.
    start: index of its backslash.
    end: index after its last character.
  """

  text: str
  start: int
  end: int


class _Open(NamedTuple):
  """A box whose closing brace has not been met."""

  start: int
  inside: int
  is_doubled: bool
  children: list[Box]


def answer_text(
  response: str,
  *,
  several: str = "last",
  think_end: str = THINK_END,
  tail_chars: int = TAIL_CHARS,
) -> str | None:
  r"""The boxed answer of a response, by the rules above.

  Example: answer_text(r"\boxed{1}, no: \boxed{\frac{1}{2}}.") is
  r"\frac{1}{2}"; of r"\boxed{2} or \boxed{3}" it is "2, 3".

  Args:
    response: any text.
    several: a name of `SEVERAL`; with "same", boxes that differ are none.
    think_end: what ends the thinking part; "" to search all of the response.
    tail_chars: how many characters at most are searched, from the end.

  Returns:
    The text in the box, stripped; "" where the last box holds no answer; None
    if there is no box.

  Raises:
    errors.UserError: if `several` is none of `SEVERAL`.
  """
  if several not in SEVERAL:
    raise errors.UserError(
      f"several is {several!r}: {names.did_you_mean(several, SEVERAL)}"
    )
  text = searched(response, think_end=think_end, tail_chars=tail_chars)
  found = boxes(text)
  if not found:
    return None
  if several == "same" and len({box.text for box in found}) > 1:
    return ""
  first = len(found) - 1
  while first > 0 and _SEPARATORS.fullmatch(
    text, found[first - 1].end, found[first].start
  ):
    first -= 1
  return _listed(found[first:])


def searched(
  response: str, *, think_end: str = THINK_END, tail_chars: int = TAIL_CHARS
) -> str:
  """The part of a response in which an answer may stand."""
  if think_end:
    response = response.rpartition(think_end)[2]
  return response[max(len(response) - tail_chars, 0) :]


def boxes(text: str) -> list[Box]:
  """The boxes of a text from left to right, but for those inside another.

  A box that is never closed does not swallow those that follow it.
  """
  found: list[Box] = []
  opened: list[_Open] = []
  # What every open brace belongs to: a box of `opened`, or not.
  braces: list[bool] = []
  here = lambda: opened[-1].children if opened else found
  position = 0
  while mark := _MARKS.search(text, position):
    character, position = mark[0], mark.start()
    command = _COMMAND.match(text, position) if character == "\\" else None
    if command and text.startswith("{", command.end()):
      is_doubled = command[1] is not None
      opened.append(_Open(position, command.end() + 1, is_doubled, []))
      braces.append(True)
      position = command.end() + 1
    elif command:
      bare = _UNBRACED.match(text, command.end())
      if bare:
        here().append(Box(_unbraced(bare[0]), position, bare.end()))
      position = bare.end() if bare else command.end()
    elif character == "\\":
      position += 2
    elif character == "{":
      position += 1
      braces.append(False)
    else:
      position += 1
      if braces and braces.pop():
        closed = opened.pop()
        content = _content(text, closed, position - 1)
        here().append(Box(content, closed.start, position))
  for box in opened:
    found += [*box.children, Box("", box.start, len(text))]
  return sorted(found, key=lambda box: box.start)


def _content(text: str, box: _Open, end: int) -> str:
  """What a closed box holds, boxes inside it taken off."""
  if len(box.children) > 1:
    return _listed(box.children)
  content = text[box.inside : end]
  for child in box.children:
    before, after = text[box.inside : child.start], text[child.end : end]
    content = before + child.text + after
  if box.is_doubled:
    content = content.replace("\\\\", "\\")
  return content.strip()


def _listed(members: Iterable[Box]) -> str:
  """Boxes as one answer; without any answer if one of them has none."""
  texts = dict.fromkeys(box.text for box in members)
  return "" if "" in texts else ", ".join(texts)


def _unbraced(text: str) -> str:
  """Takes off what ends the sentence or the formula around the box."""
  for closing in (r"\)", r"\]"):
    text = text.partition(closing)[0]
  return text.rstrip(".,;:!?")
