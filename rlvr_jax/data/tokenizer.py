"""A pretrained model's tokenizer, read from the folder of its checkpoint.

`Tokenizer` offers what `vocabulary.Vocabulary` does, by the same names, and
further the chat template and every token that ends a completion. The only
importer of tokenizers, which `load` asks for.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json
import pathlib
import re
from typing import Any

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.data import chat_template

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
TEMPLATE = "chat_template.jinja"
# Names by which a chat template may ask for a special token.
_NAMED = tuple(
  f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
)
# Tokens that released models set aside to fill with, without always saying so.
_SPARE = (
  "<|finetune_right_pad_id|>",
  "<|fim_pad|>",
  "<|pad|>",
  "<pad>",
  "[PAD]",
  "<|padding|>",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """Texts and token ids of a pretrained model.

  Ids are the record and text is a view of them. What a model wrote is never
  encoded anew: another tokenization of the same text is another sequence, with
  other log-probabilities.

  Example: after t = tokenizer.load("Qwen2.5-0.5B-Instruct"),
  t.chat([{"role": "user", "content": "1+1?"}]) are the ids of a prompt up to
  the point where the assistant begins.

  Attributes:
    backend: the `tokenizers.Tokenizer`.
    folder: where it was read, for messages.
    vocab_size: largest id + 1, added tokens included.
    num_symbols: how many texts `symbols` has; the model's vocabulary, which
      may be larger.
    pad_id: fills buckets; see `load`.
    eos_id: ends a demonstration.
    stop_ids: every token that ends a completion, eos_id first.
    begin_ids: what stands before a text that begins a sequence.
    special: texts of special tokens by name, such as "bos_token".
    template: of chats, if the folder has one.
    date: what a template takes for today, such as "2026-01-31".
  """

  backend: Any
  folder: str
  vocab_size: int
  num_symbols: int
  pad_id: int
  eos_id: int
  stop_ids: tuple[int, ...]
  begin_ids: tuple[int, ...]
  special: Mapping[str, str]
  template: str | None = None
  date: str = ""

  def encode(self, text: str) -> tuple[int, ...]:
    """Ids of a text, with nothing added to it."""
    return tuple(self.backend.encode(text, add_special_tokens=False).ids)

  def begin(self, text: str) -> tuple[int, ...]:
    """Ids of a text that begins a sequence: a prompt outside of any chat."""
    return self.begin_ids + self.encode(text)

  def decode(self, ids: Sequence[int]) -> str:
    """Text up to the first token that ends a completion.

    Other special tokens show as their texts. Of a part of a sequence this is
    a view only: a character that was cut in two shows as U+FFFD, and encoding
    the text anew may give other ids.
    """
    ids = list(map(int, ids))
    ends = (place for place, i in enumerate(ids) if i in self.stop_ids)
    return self.text(ids[: next(ends, None)])

  def text(self, ids: Sequence[int]) -> str:
    """Text of all ids, special tokens and ends included."""
    return self.backend.decode(list(map(int, ids)), skip_special_tokens=False)

  @functools.cached_property
  def symbols(self) -> tuple[str, ...]:
    """Text of each id alone; "" where the model has a row and no token."""
    # One by one: batches start threads, and a process with threads should not
    # fork, as a pool of verifiers may.
    texts = [self.text([i]) for i in range(self.vocab_size)]
    return (*texts, *[""] * (self.num_symbols - len(texts)))

  def id(self, symbol: str) -> int:
    """Id of a text that is one token.

    Raises:
      errors.UserError: if it is several.
    """
    ids = self.encode(symbol)
    settings.require(
      self.has(symbol),
      f"{symbol!r} is not one token of {self.folder}, but {len(ids)}: choose a"
      " text that is, perhaps with a space before it",
    )
    return ids[0]

  def has(self, symbol: str) -> bool:
    """Whether a text is one token."""
    ids = self.encode(symbol)
    # The text once more: an unknown character is one token as well.
    return len(ids) == 1 and self.text(ids).strip() == symbol.strip()

  def chat(
    self,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = True,
    **variables: Any,
  ) -> tuple[int, ...]:
    """Ids of a chat, as the template writes it.

    The template writes every special token itself, a beginning one too; a text
    in a message that reads like one becomes one.

    Args:
      messages: dicts with "role" and "content".
      add_generation_prompt: end where the assistant is to begin.
      **variables: further variables of the template, such as enable_thinking.

    Raises:
      errors.UserError: see `chat_text`.
    """
    return self.encode(
      self.chat_text(
        messages, add_generation_prompt=add_generation_prompt, **variables
      )
    )

  def chat_text(
    self,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = True,
    **variables: Any,
  ) -> str:
    """What `chat` encodes.

    Raises:
      errors.UserError: if there are no messages or no template, if the
        template does not read one of the variables, or if it fails.
    """
    settings.require(
      self.template is not None,
      f"{self.folder} has no chat template: add a {TEMPLATE}, or ask for plain"
      " prompts",
    )
    settings.require(
      len(messages) > 0, "a chat has no messages: give it at least one"
    )
    for name in variables:
      settings.require(
        bool(re.search(rf"\b{re.escape(name)}\b", self.template)),
        f"the chat template of {self.folder} does not read {name!r}: leave it"
        " out",
      )
    try:
      return chat_template.compiled(self.template, self.date).render(
        messages=[
          {name: value for name, value in message.items() if value is not None}
          for message in messages
        ],
        **{"tools": None, "documents": None, **self.special, **variables},
        add_generation_prompt=add_generation_prompt,
      )
    except errors.UserError as error:
      raise errors.UserError(
        f"the chat template of {self.folder} {error}"
      ) from error
    # A template is a program of others: it may raise anything.
    except Exception as error:
      roles = ", ".join(str(message.get("role")) for message in messages)
      raise errors.UserError(
        f"the chat template of {self.folder} fails on the roles {roles}"
        f" ({_one_line(error)}): give it messages that it accepts"
      ) from error


def load(
  folder: str | pathlib.Path,
  *,
  vocab_size: int = 0,
  stop_tokens: Sequence[str] = (),
  date: str = "",
) -> Tokenizer:
  """Reads tokenizer.json and what lies beside it.

  A completion ends with the tokenizer's end token, with any that
  generation_config.json names (config.json where there is none), and with
  `stop_tokens`.

  Buckets are filled with the first of these that no completion ends with: the
  tokenizer's padding token, a token that is known to be set aside for it, the
  unknown token, the token that begins a text. Where there is none, an end
  token fills. That is safe as far as masks go, which are the record of what
  counts, but a count of tokens that are not padding misses the end.

  Args:
    folder: of a Hugging Face checkpoint.
    vocab_size: rows of the model's embedding, where they are known; `symbols`
      has as many texts.
    stop_tokens: further tokens that end a completion.
    date: what a chat template is to take for today, "2026-01-31"; the clock is
      never read, since a run that is resumed has to see the same prompts.

  Raises:
    errors.UserError: if a package or file is missing, a file is damaged, the
      files disagree, or the tokens are more than the model has.
  """
  folder = pathlib.Path(folder)
  backend = _backend(folder)
  config = _json(folder / CONFIG)
  template = _template(folder, config)
  if template is not None:
    chat_template.library("jinja2")
  if date:
    chat_template.moment(date)
  special = _special(folder, config)
  ids = backend.get_vocab(with_added_tokens=True)
  _check_added(folder, config, ids)
  stop_ids = _stop_ids(folder, ids, special, stop_tokens)
  # What surrounds a text tells what stands before one.
  bare = backend.encode("0", add_special_tokens=False).ids
  whole = backend.encode("0", add_special_tokens=True).ids
  places = range(len(whole))
  begin = next((i for i in places if whole[i : i + len(bare)] == bare), 0)
  largest = max(ids.values()) + 1
  found = Tokenizer(
    backend=backend,
    folder=str(folder),
    vocab_size=largest,
    num_symbols=max(vocab_size, largest),
    pad_id=_pad_id(ids, special, stop_ids),
    eos_id=stop_ids[0],
    stop_ids=stop_ids,
    begin_ids=tuple(whole[:begin]),
    special=special,
    template=template,
    date=date,
  )
  if vocab_size:
    check_fits(found, vocab_size, folder)
  return found


def check_fits(
  tokenizer: Tokenizer, vocab_size: int, folder: str | pathlib.Path
) -> None:
  """Refuses a model without a row for each token.

  More rows than tokens are usual: they round the vocabulary up.

  Args:
    tokenizer: what writes the ids.
    vocab_size: rows of the model's embedding.
    folder: of the model.

  Raises:
    errors.UserError: naming both numbers.
  """
  settings.require(
    tokenizer.vocab_size <= vocab_size,
    f"the model of {folder} has {vocab_size} tokens, but the tokenizer of"
    f" {tokenizer.folder} has {tokenizer.vocab_size}: take both from one"
    " folder",
  )


def _backend(folder: pathlib.Path) -> Any:
  tokenizers = chat_template.library("tokenizers")
  path = folder / FILE
  settings.require(
    path.is_file(),
    f"{folder} has no {FILE}: give the folder of a checkpoint, or save its"
    " tokenizer with transformers first, which writes one",
  )
  try:
    backend = tokenizers.Tokenizer.from_file(str(path))
  # The library raises Exception itself.
  except Exception as error:
    raise errors.UserError(
      f"{path} is no tokenizer that this version of tokenizers reads"
      f" ({_one_line(error)}): download it again or update the package"
    ) from error
  # Some are saved with the settings that they were trained with.
  backend.no_truncation()
  backend.no_padding()
  return backend


def _json(path: pathlib.Path) -> dict[str, Any]:
  """Content of a file that may be missing."""
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise errors.UserError(
      f"{path} is not JSON ({error}): download it again"
    ) from error
  settings.require(
    isinstance(content, dict),
    f"{path} is no JSON object: download it again",
  )
  return content


def _template(folder: pathlib.Path, config: Mapping[str, Any]) -> str | None:
  """The chat template: a file of its own, or the configuration's default."""
  path = folder / TEMPLATE
  if path.is_file():
    return path.read_text(encoding="utf-8")
  found = config.get("chat_template")
  if isinstance(found, list):
    found = {entry["name"]: entry["template"] for entry in found}
  return found.get("default") if isinstance(found, dict) else found


def _special(folder: pathlib.Path, config: Mapping[str, Any]) -> dict[str, str]:
  """Texts of the named special tokens."""
  # Older folders keep them in a file of their own.
  if "added_tokens_decoder" not in config:
    config = {**config, **_json(folder / SPECIAL)}
  texts = {
    name: token.get("content") if isinstance(token, dict) else token
    for name in _NAMED
    if (token := config.get(name))
  }
  return {name: text for name, text in texts.items() if text}


def _check_added(
  folder: pathlib.Path, config: Mapping[str, Any], ids: Mapping[str, int]
) -> None:
  for index, token in config.get("added_tokens_decoder", {}).items():
    text = token["content"]
    settings.require(
      ids.get(text) == int(index),
      f"{folder / CONFIG} gives {text!r} the id {index}, but {FILE} beside it"
      f" {ids.get(text, 'does not know it')}: save the tokenizer again with"
      " transformers",
    )


def _stop_ids(
  folder: pathlib.Path,
  ids: Mapping[str, int],
  special: Mapping[str, str],
  stop_tokens: Sequence[str],
) -> tuple[int, ...]:
  for token in stop_tokens:
    settings.require(
      token in ids,
      f"stop_tokens names {token!r}, which is no token of {folder}: take it"
      " out or mend its spelling",
    )
  path = folder / "generation_config.json"
  if not path.is_file():
    path = folder / "config.json"
  listed = _json(path).get("eos_token_id")
  listed = listed if isinstance(listed, list) else [listed]
  known = set(ids.values())
  for number in listed:
    settings.require(
      number is None or number in known,
      f"{path} has the eos_token_id {number!r}, which is no token of {FILE}"
      " beside it: take both from one checkpoint",
    )
  found = [
    ids.get(special.get("eos_token")),
    *listed,
    *(ids[token] for token in stop_tokens),
  ]
  stops = tuple(dict.fromkeys(number for number in found if number is not None))
  settings.require(
    bool(stops),
    f"{folder} names no token that ends a text: set eos_token in {CONFIG}",
  )
  return stops


def _pad_id(
  ids: Mapping[str, int], special: Mapping[str, str], stop_ids: Sequence[int]
) -> int:
  candidates = (
    special.get("pad_token"),
    *_SPARE,
    special.get("unk_token"),
    special.get("bos_token"),
  )
  found = [ids[token] for token in candidates if token in ids]
  spare = [number for number in found if number not in stop_ids]
  return (*spare, *found, stop_ids[0])[0]


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split()) or type(error).__name__
