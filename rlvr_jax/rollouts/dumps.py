"""Rollout dumps of other trainers: what their rows hold, looked at.

A dump has a row for each completion. What is read of it, by our names:

  prompt_tokens      ids; or `prompt`, a text or the messages of a chat
  completion_tokens  ids, the end token included; or `completion`, a text; or
                     `tokens`, behind the prompt's ids in one list, and
                     `completion_length`, how many of them are its own
  reward             a number
  group              which completions belong together, a number or text;
                     without it those of the same prompt do
  logprobs           of the completion's tokens under the sampler, nats, before
                     any truncation
  old_logprobs, ref_logprobs, teacher_logprobs
                     the same under the policy that was trained, a reference,
                     a teacher; a row without a teacher has null
  is_correct, finished
                     true or false, 1 or 0; for `finished` also slime's status
  mask               1 for each token that the policy wrote; a 0, such as of a
                     tool's answer, is refused

All but prompt, completion and reward may be missing, then in every row. What
`FORMATS` knows under which names, as their code was in 2026:

  rollouts  the names above
  verl      files of trainer.rollout_data_dir: texts without special tokens and
            a score; no ids, no log-probabilities, no group
  trl       completions_*.parquet of log_completions: texts, and a column for
            each reward function, of which fields has to name one (`reward`);
            no ids, no log-probabilities, no group
  slime     the samples of --save-debug-rollout-data, which are a pickle: write
            each of them as a line of JSON first

Other trainers have no format here; `keys_of` takes the names of any. A text is
encoded anew: where its special tokens were dropped, or the sampler chose other
ids for it, the ids are not those that were sampled.
"""

from collections.abc import Iterable, Mapping, Sequence
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import names as names_lib
from rlvr_jax import settings
from rlvr_jax.data import readers
from rlvr_jax.data import tokenizer as tokenizer_lib

# Of a row, one number for each token: the field of a batch by our name.
BY_TOKEN = {
  "logprobs": "sampler_logprobs",
  "old_logprobs": "old_logprobs",
  "ref_logprobs": "ref_logprobs",
  "teacher_logprobs": "teacher_logprobs",
}
# One in all.
BITS = ("is_correct", "finished")
_COLUMNS = (*BY_TOKEN, *BITS, "group")
NAMES = (
  "prompt_tokens",
  "prompt",
  "completion_tokens",
  "completion",
  "tokens",
  "completion_length",
  "reward",
  "mask",
  *_COLUMNS,
)
FORMATS = {
  "rollouts": {name: name for name in NAMES},
  "verl": {"prompt": "input", "completion": "output", "reward": "score"},
  "trl": {"prompt": "prompt", "completion": "completion"},
  "slime": {
    "tokens": "tokens",
    "completion_length": "response_length",
    "reward": "reward",
    "group": "group_index",
    "logprobs": "rollout_log_probs",
    "teacher_logprobs": "teacher_log_probs",
    "finished": "status",
    "mask": "loss_mask",
  },
}
# "aborted" and "failed" are neither.
_STATUS = {"completed": 1.0, "truncated": 0.0}
_LARGEST_ID = 2**31 - 1


class Row(NamedTuple):
  """One completion; `grouping.batch` makes a batch of many.

  Attributes:
    source: file and line.
    prompt: token ids.
    completion: token ids.
    reward: what the objective is fed.
    columns: of the rest what the row has, by our names.
  """

  source: str
  prompt: tuple[int, ...]
  completion: tuple[int, ...]
  reward: float
  columns: dict[str, Any]

  @property
  def group(self) -> Any:
    """Which rows it belongs to."""
    return self.columns.get("group", self.prompt)


def keys_of(kind: str, fields: Iterable[str] = ()) -> dict[str, str]:
  """Where a dump has what: keys of its rows by our names.

  Args:
    kind: one of `FORMATS`.
    fields: changes of it, "name=key"; "a.b" is a key within a key, and no key
      leaves a name out.

  Raises:
    errors.UserError: for an unknown name.
  """
  keys = dict(FORMATS[kind])
  for field in fields:
    name, equals, key = field.partition("=")
    settings.require(
      bool(equals) and name in NAMES,
      f"--fields has {field!r}: write name=key;"
      f" {names_lib.did_you_mean(name, NAMES)}",
    )
    keys[name] = key
  return {name: key for name, key in keys.items() if key}


def read(
  path: str | pathlib.Path,
  keys: Mapping[str, str],
  tokenizer: tokenizer_lib.Tokenizer | None = None,
) -> list[Row]:
  """All rows of a dump, each looked at.

  Args:
    path: see `readers.read`.
    keys: of `keys_of`.
    tokenizer: encodes texts.

  Raises:
    errors.UserError: naming file, line, key and value of the first mistake.
  """
  rows = [
    _row(_Line(source, row, keys), tokenizer)
    for source, row in readers.read(path)
  ]
  settings.require(
    bool(rows), f"{path} has no rows: name a file with one for each completion"
  )
  for name in _COLUMNS:
    _check_column(name, rows, keys)
  return rows


class _Line(NamedTuple):
  """A row as the dump has it, and what to say of it.

  Attributes:
    source: file and line.
    row: values by key.
    keys: of `keys_of`.
  """

  source: str
  row: dict[str, Any]
  keys: Mapping[str, str]

  def value(self, name: str) -> Any:
    """What the row has under one of our names; None for nothing."""
    return readers.at(self.row, self.keys[name]) if name in self.keys else None

  def require(self, good: bool, name: str, value: Any, remedy: str) -> None:
    """Raises a UserError about a value unless it is good."""
    # No `settings.require`: the message would be made up for every row.
    if not good:
      first, bracket, place = name.partition("[")
      shown = readers.shortened(value)
      if value is None:
        shown = f"the keys {', '.join(self.row)}, and nothing"
      raise errors.UserError(
        f"{self.source} has {shown} in"
        f" '{self.keys.get(first, first)}{bracket}{place}': {remedy}"
      )


def _row(line: _Line, tokenizer) -> Row:
  finished = _bit(line, "finished")
  prompt, completion = _ids(line, tokenizer, finished == 1.0)
  reward = line.value("reward")
  line.require(
    _is_number(reward),
    "reward",
    reward,
    "give one finite number, by --fields=reward=KEY where it is elsewhere",
  )
  mask = line.value("mask")
  line.require(
    mask is None or (_is_list(mask) and all(x == 1 for x in mask)),
    "mask",
    mask,
    "only completions of which the policy wrote every token can be read; leave"
    " the line out",
  )
  group = line.value("group")
  line.require(
    group is None or isinstance(group, str | int | float),
    "group",
    group,
    "give a number or a text",
  )
  columns = {name: _numbers(line, name, len(completion)) for name in BY_TOKEN}
  columns |= {
    "is_correct": _bit(line, "is_correct"),
    "finished": finished,
    "group": group,
  }
  given = {name: x for name, x in columns.items() if x is not None}
  return Row(line.source, prompt, completion, float(reward), given)


def _ids(line: _Line, tokenizer, finished: bool):
  """Token ids of prompt and completion."""
  if (tokens := line.value("tokens")) is not None:
    tokens, length = _token_ids(line, "tokens"), line.value("completion_length")
    line.require(
      _is_whole(length) and 0 < length < len(tokens),
      "completion_length",
      length,
      f"give a number between 0 and the {len(tokens)} tokens of the row",
    )
    return tokens[:-length], tokens[-length:]
  if line.value("prompt_tokens") is not None:
    prompt = _token_ids(line, "prompt_tokens")
  else:
    text = _text(line, "prompt", tokenizer)
    is_chat = isinstance(text, list)
    prompt = tokenizer.chat(text) if is_chat else tokenizer.begin(text)
  if line.value("completion_tokens") is not None:
    return prompt, _token_ids(line, "completion_tokens")
  text = _text(line, "completion", tokenizer)
  line.require(
    isinstance(text, str), "completion", text, "give a text, not messages"
  )
  return prompt, tokenizer.encode(text) + (tokenizer.eos_id,) * finished


def _token_ids(line: _Line, name: str) -> tuple[int, ...]:
  ids = line.value(name)
  line.require(
    _is_list(ids)
    and len(ids) > 0
    and all(_is_whole(x) and 0 <= x <= _LARGEST_ID for x in ids),
    name,
    ids,
    "give a list of token ids, none of them negative and at least one",
  )
  return tuple(ids)


def _text(line: _Line, name: str, tokenizer) -> Any:
  """A text, or a prompt's messages."""
  value = line.value(name)
  line.require(
    bool(value) and isinstance(value, str | list),
    name,
    value,
    f"give {name}_tokens or a text, by --fields={name}=KEY where it is"
    " elsewhere",
  )
  line.require(
    tokenizer is not None,
    name,
    value,
    "a text needs --tokenizer, the folder of the model's",
  )
  return value


def _numbers(line: _Line, name: str, length: int) -> np.ndarray | None:
  """Log-probabilities of a completion's tokens."""
  values = line.value(name)
  if values is None:
    return None
  line.require(
    _is_list(values) and len(values) == length,
    name,
    values,
    f"give one number for each of the {length} completion tokens, or leave it"
    f" out with --fields={name}=",
  )
  good = [_is_number(x) and x <= checks.ROUNDING for x in values]
  place = 0 if all(good) else good.index(False)
  line.require(
    all(good),
    f"{name}[{place}]",
    values[place],
    "log-probabilities are finite and at most 0, so mend the dump, or leave"
    f" it out with --fields={name}=",
  )
  return np.asarray(values, np.float32)


def _bit(line: _Line, name: str) -> float | None:
  value = line.value(name)
  if value is None:
    return None
  known = _STATUS if name == "finished" else {}
  if isinstance(value, str) and value in known:
    return known[value]
  line.require(
    isinstance(value, int | float) and value in (0, 1),
    name,
    value,
    f"give true or false, {' or '.join(('1 or 0', *known))}; leave a line out"
    " that is neither",
  )
  return float(value)


def _is_list(value: Any) -> bool:
  return isinstance(value, list)


def _is_whole(value: Any) -> bool:
  # True is an int to isinstance.
  return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
  number = isinstance(value, int | float) and not isinstance(value, bool)
  return number and math.isfinite(value)


def _check_column(name: str, rows: Sequence[Row], keys) -> None:
  """What one row has, all have."""
  has = [row for row in rows if name in row.columns]
  lacks = [row for row in rows if name not in row.columns]
  # A row may well be without a teacher.
  if has and lacks and name != "teacher_logprobs":
    raise errors.UserError(
      f"{lacks[0].source} has nothing in {keys[name]!r}, and {has[0].source}"
      f" has: fill it in every row, or leave it out with --fields={name}="
    )
