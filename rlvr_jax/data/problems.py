"""Problems as arrays: questions asked through a tokenizer, answers beside them.

Answers stay on the host as text, by prompt id: a verifier that reads text has
them there.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from rlvr_jax import names
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import schemas
from rlvr_jax.data import tokenizer as tokenizer_lib

_QUESTION = "{question}"
OVER_LONG = ("drop", "error")


@dataclasses.dataclass(frozen=True)
class PromptConfig:
  r"""How a problem is put to a model.

  Example: PromptConfig("{question}\nPut the answer within \\boxed{}.").
  """

  # Text around what the user says last. {question} stands in it once; all
  # other braces are themselves, so \boxed{} is written as it is to be read.
  template: str = _QUESTION
  # First message of a chat; None leaves it to the chat template, which may
  # have one of its own, where "" asks for an empty one.
  system: str | None = None
  # Write the prompt with the tokenizer's chat template, instead of as text.
  chat: bool = True
  # The variable enable_thinking of a chat template; None leaves it unset.
  thinking: bool | None = None
  # What becomes of a prompt that is longer than its bucket: "drop" leaves the
  # problem out and counts it, "error" refuses it.
  over_long: str = "drop"

  def __post_init__(self):
    found = self.template.count(_QUESTION)
    settings.require(
      found == 1,
      f"config.data.prompt.template is {self.template!r}, with {_QUESTION}"
      f" {found} times: name it exactly once",
    )
    settings.require(
      "{{}}" not in self.template,
      f"config.data.prompt.template is {self.template!r}: braces are not"
      " doubled in it, so write {} for {{}}",
    )
    settings.require(
      self.over_long in OVER_LONG,
      f"config.data.prompt.over_long is {self.over_long!r}:"
      f" {names.did_you_mean(self.over_long, OVER_LONG)}",
    )
    for name in ("system", "thinking"):
      settings.require(
        self.chat or getattr(self, name) is None,
        f"config.data.prompt.{name} is {getattr(self, name)!r}, which only a"
        " chat has: set config.data.prompt.chat to True, or leave it out",
      )


class Encoded(NamedTuple):
  """Problems as a split of a data set.

  Attributes:
    prompts: the arrays, without demonstrations; see `prompt_set`.
    golds: what a verifier compares with, by prompt id.
    sources: file and line, by prompt id.
    num_over_long: problems left out, as longer than the bucket.
    longest: tokens of the longest prompt, of those left out as well.
  """

  prompts: prompts_lib.PromptSet
  golds: tuple[str, ...]
  sources: tuple[str, ...]
  num_over_long: int
  longest: int


def prompt_set(
  problems: Sequence[schemas.Problem],
  tokenizer: tokenizer_lib.Tokenizer,
  config: PromptConfig,
  *,
  prompt_tokens: int,
  completion_tokens: int,
) -> Encoded:
  """Encodes problems, in their order.

  There is nothing to imitate: the set has one demonstration of padding alone,
  which keeps its shape usable inside jit, and no prompt has any.

  Args:
    problems: of one split.
    tokenizer: of the model.
    config: how they are asked.
    prompt_tokens: length P of the prompt bucket.
    completion_tokens: length T of the completion bucket.

  Raises:
    errors.UserError: if there are no problems or none fits, if one does not
      fit and may not be left out, or if one cannot be asked this way.
  """
  settings.require(
    len(problems) > 0, "a split of config.data is empty: choose other files"
  )
  rows = [prompt(problem, tokenizer, config) for problem in problems]
  longest = max(range(len(rows)), key=lambda i: len(rows[i]))
  fits = [len(row) <= prompt_tokens for row in rows]
  settings.require(
    all(fits) or (config.over_long == "drop" and any(fits)),
    f"config.data.prompt_tokens is {prompt_tokens}, but {fits.count(False)} of"
    f" {len(rows)} prompts are longer, {problems[longest].source} with"
    f" {len(rows[longest])} tokens the longest: raise it"
    + (", or set config.data.prompt.over_long to 'drop'" if any(fits) else ""),
  )
  kept = [i for i, fit in enumerate(fits) if fit]
  tokens, mask = prompts_lib.pad_left(
    [rows[i] for i in kept], prompt_tokens, tokenizer.pad_id
  )
  none = np.zeros(len(kept), np.int32)
  return Encoded(
    prompts=prompts_lib.PromptSet(
      prompts=records.PromptBatch(
        prompt_tokens=tokens,
        prompt_mask=mask,
        prompt_ids=np.arange(len(kept), dtype=np.int32),
        answers={},
      ),
      demonstrations=np.full(
        (1, completion_tokens), tokenizer.pad_id, np.int32
      ),
      first_demonstration=none,
      num_demonstrations=none,
    ),
    golds=tuple(problems[i].answer for i in kept),
    sources=tuple(problems[i].source for i in kept),
    num_over_long=fits.count(False),
    longest=len(rows[longest]),
  )


def prompt(
  problem: schemas.Problem,
  tokenizer: tokenizer_lib.Tokenizer,
  config: PromptConfig,
) -> tuple[int, ...]:
  """Ids of one problem's prompt.

  Raises:
    errors.UserError: if the problem is a chat and plain text is asked for, or
      has a system message where another is given; see `Tokenizer.chat`.
  """
  turns = messages(problem, config)
  if config.chat:
    variables = {}
    if config.thinking is not None:
      variables["enable_thinking"] = config.thinking
    return tokenizer.chat(turns, **variables)
  settings.require(
    len(turns) == 1,
    f"{problem.source} is a chat of {len(turns)} messages: set"
    " config.data.prompt.chat to True",
  )
  return tokenizer.begin(turns[0]["content"])


def chat_tail(
  tokenizer: tokenizer_lib.Tokenizer, config: PromptConfig
) -> tuple[int, ...]:
  """Ids between what the user says last and what the assistant writes.

  Example: of Qwen2.5 those of "<|im_end|>", a line's end, "<|im_start|>",
  "assistant" and a line's end.
  """
  if not config.chat:
    return ()
  bare = dataclasses.replace(config, template=_QUESTION, system=None)
  one, other = (
    prompt(schemas.Problem(text, "", ""), tokenizer, bare)[::-1]
    for text in "AB"
  )
  pairs = enumerate(zip(one, other, strict=False))
  shared = next((i for i, (a, b) in pairs if a != b), 0)
  return one[:shared][::-1]


def messages(
  problem: schemas.Problem, config: PromptConfig
) -> list[dict[str, Any]]:
  """The chat that puts a problem to a model.

  Raises:
    errors.UserError: if the problem has a system message and another is given.
  """
  turns = problem.prompt
  if isinstance(turns, str):
    turns = (schemas.Message("user", turns),)
  asked = config.template.replace(_QUESTION, problem.question)
  turns = (*turns[:-1], schemas.Message("user", asked))
  if config.system is not None:
    settings.require(
      turns[0].role != "system",
      f"config.data.prompt.system is {config.system!r}, but {problem.source}"
      " has a system message: leave one of them out",
    )
    turns = (schemas.Message("system", config.system), *turns)
  return [turn._asdict() for turn in turns]
