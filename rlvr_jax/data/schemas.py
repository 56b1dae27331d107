r"""A row of a file as a problem, in known schemas.

`schema_of` tells a row's schema, `problem` makes the row a `Problem`.

A schema says where question and answer stand, and how the answer is written:

  verl      prompt (text or messages), reward_model.ground_truth (DAPO-Math-17k)
  problem   problem, answer (MATH-500, DeepScaleR, AIME)
  solution  problem, solution; the answer is in its last \boxed{} (MATH)
  gsm8k     question, answer; the answer follows its last #### (GSM8K)
  question  question, answer
  prompt    prompt (text or messages), answer

Upper and lower case are the same in the names of a detected schema.
"""

from collections.abc import Callable
import decimal
import re
from typing import Any, NamedTuple

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.data import readers
from rlvr_jax.verifiers import boxed


class Message(NamedTuple):
  """One turn of a chat.

  Example: Message("user", "What is 1+1?").
  """

  role: str
  content: str


class Problem(NamedTuple):
  """A question with its answer, as a file has it.

  Example: Problem("What is 1+1?", "2", "data/sums.jsonl:7").

  Attributes:
    prompt: text, or the messages of a chat that ends with the user's.
    answer: what a verifier compares with.
    source: file and line, counted from 1; in a Parquet file or a JSON list
      the row.
  """

  prompt: str | tuple[Message, ...]
  answer: str
  source: str

  @property
  def question(self) -> str:
    """What the user says last."""
    if isinstance(self.prompt, str):
      return self.prompt
    return self.prompt[-1].content


class Schema(NamedTuple):
  """Where question and answer stand in a row.

  Attributes:
    prompt_key: of the question; "a.b" is a key within a key.
    answer_key: of the answer.
    final: text of that -> the answer, and None where it has none.
    missing: what a text without an answer lacks.
  """

  prompt_key: str
  answer_key: str
  final: Callable[[str], str | None]
  missing: str


def _as_it_is(text: str) -> str | None:
  return text or None


def _after_hashes(text: str) -> str | None:
  """GSM8K's: what follows the last ####, without commas between thousands."""
  _, mark, last = text.rpartition("####")
  answer = re.sub(r"(?<=\d),(?=\d{3})", "", last.strip())
  return answer if mark and answer else None


def _boxed(text: str) -> str | None:
  """What is in a solution's box; all of it is searched, however long."""
  found = boxed.answer_text(text, think_end="", tail_chars=len(text))
  return found or None


# In the order in which they are tried.
SCHEMAS = {
  "verl": Schema("prompt", "reward_model.ground_truth", _as_it_is, "text"),
  "problem": Schema("problem", "answer", _as_it_is, "text"),
  "solution": Schema("problem", "solution", _boxed, r"\boxed{...}"),
  "gsm8k": Schema("question", "answer", _after_hashes, "number behind ####"),
  "question": Schema("question", "answer", _as_it_is, "text"),
  "prompt": Schema("prompt", "answer", _as_it_is, "text"),
}


def schema_of(
  row: dict,
  source: str,
  name: str = "",
  *,
  prompt_key: str = "",
  answer_key: str = "",
) -> Schema:
  """The schema of a row, with the names as the row spells them.

  Args:
    row: values by key.
    source: of the row, for messages.
    name: one of `SCHEMAS`; "" takes the first that fits.
    prompt_key: where the question is, if not where the schema says.
    answer_key: where the answer is, if not where the schema says.

  Raises:
    errors.UserError: if none fits, listing the row's keys.
  """
  if not name and prompt_key and answer_key:
    return Schema(prompt_key, answer_key, _as_it_is, "text")
  for known in [name] if name else SCHEMAS:
    schema = SCHEMAS[known]
    schema = schema._replace(
      prompt_key=prompt_key or _spelt(row, schema.prompt_key),
      answer_key=answer_key or _spelt(row, schema.answer_key),
    )
    fits = _has(row, schema.prompt_key) and _has(row, schema.answer_key)
    if known == "gsm8k":
      # Its keys are those of `question`; only the mark tells them apart.
      fits = fits and "####" in str(readers.at(row, schema.answer_key))
    if name or fits:
      return schema
  pairs = dict.fromkeys(f"{s[0]} and {s[1]}" for s in SCHEMAS.values())
  raise errors.UserError(
    f"{source} has the keys {', '.join(row)}, which are of no known schema"
    f" ({'; '.join(pairs)}): set prompt_key and answer_key"
  )


def _spelt(row: dict, key: str) -> str:
  """The key as the row spells it, but for upper and lower case."""
  first, dot, rest = key.partition(".")
  by_lower = {name.lower(): name for name in reversed(row)}
  first = first if first in row else by_lower.get(first, first)
  return f"{first}{dot}{rest}"


def _has(row: dict, key: str) -> bool:
  outer, _, last = key.rpartition(".")
  row = readers.at(row, outer) if outer else row
  return isinstance(row, dict) and last in row


def problem(row: dict, schema: Schema, source: str) -> Problem:
  """The problem of a row.

  Args:
    row: values by key.
    schema: where question and answer stand.
    source: of the row.

  Raises:
    errors.UserError: if question or answer is missing, empty or of a wrong
      type.
  """
  return Problem(
    _prompt(_required(row, schema.prompt_key, source), schema, source),
    _answer(_required(row, schema.answer_key, source), schema, source),
    source,
  )


def _required(row: dict, key: str, source: str) -> Any:
  value = readers.at(row, key)
  settings.require(
    value is not None,
    f"{source} has nothing in {key!r}, and the keys {', '.join(row)}: fill it,"
    " set other keys, or set drops_unusable",
  )
  return value


def _prompt(
  value: Any, schema: Schema, source: str
) -> str | tuple[Message, ...]:
  key = schema.prompt_key
  if isinstance(value, str):
    prompt, last = value, value
  else:
    prompt = _messages(value, key, source)
    last = prompt[-1].content
    settings.require(
      prompt[-1].role == "user",
      f"{source} has a {key!r} that ends with the role {prompt[-1].role!r}: end"
      " it with what the user says",
    )
  settings.require(
    bool(last.strip()),
    f"{source} has an empty question in {key!r}: fill it, or set"
    " drops_unusable",
  )
  return prompt


def _messages(value: Any, key: str, source: str) -> tuple[Message, ...]:
  # No `settings.require` here: the message would be made up for every row.
  if not isinstance(value, list) or not value:
    raise errors.UserError(
      f"{source} has {readers.shortened(value)} in {key!r}: give text, or a"
      " list of messages with role and content"
    )
  found = []
  for message in value:
    fields = message if isinstance(message, dict) else {}
    # Parquet has every key in every row.
    fields = {k: v for k, v in fields.items() if v is not None}
    if fields.keys() != {"role", "content"} or not all(
      isinstance(v, str) for v in fields.values()
    ):
      raise errors.UserError(
        f"{source} has the message {readers.shortened(message)} in {key!r}:"
        " give it a role and a content, both text, and nothing else"
      )
    found.append(Message(**fields))
  return tuple(found)


def _answer(value: Any, schema: Schema, source: str) -> str:
  text = _text(value)
  if text is None:
    raise errors.UserError(
      f"{source} has the answer {readers.shortened(value)} in"
      f" {schema.answer_key!r}: give text or a number, or a list of one of them"
    )
  answer = schema.final(text)
  if answer is None:
    raise errors.UserError(
      f"{source} has the answer {readers.shortened(text)} in"
      f" {schema.answer_key!r}, without {schema.missing}: fill it, or set"
      " another schema or drops_unusable"
    )
  return answer


def _text(value: Any) -> str | None:
  """An answer as text; None if it is neither text nor a number."""
  if isinstance(value, list) and len(value) == 1:
    value = value[0]
  if isinstance(value, str):
    return value.strip()
  # True is an int to isinstance.
  if isinstance(value, int) and not isinstance(value, bool):
    return str(value)
  if isinstance(value, float):
    # The shortest text that reads as the same number.
    value = decimal.Decimal(repr(value))
  if isinstance(value, decimal.Decimal) and value.is_finite():
    text = f"{value:f}"
    return text.rstrip("0").removesuffix(".") if "." in text else text
  return None
