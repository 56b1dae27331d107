"""Characters as tokens: the vocabularies of the generated tasks."""

from collections.abc import Sequence
import dataclasses

from rlvr_jax import errors


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Token i is symbols[i]; a symbol may be longer than one character.

  Example: ARITHMETIC.encode("6-1=5") == (8, 13, 3, 16, 7).
  """

  symbols: tuple[str, ...]
  pad_id: int = 0
  eos_id: int = 1

  @property
  def vocab_size(self) -> int:
    """Number of tokens."""
    return len(self.symbols)

  @property
  def stop_ids(self) -> tuple[int, ...]:
    """Every token that ends a completion."""
    return (self.eos_id,)

  def encode(self, text: str) -> tuple[int, ...]:
    """Ids of a text, longest symbol first.

    Raises:
      errors.UserError: if a character is in no symbol.
    """
    longest_first = sorted(
      range(self.eos_id + 1, len(self.symbols)),
      key=lambda i: -len(self.symbols[i]),
    )
    ids, start = [], 0
    while start < len(text):
      for i in longest_first:
        if text.startswith(self.symbols[i], start):
          ids.append(i)
          start += len(self.symbols[i])
          break
      else:
        raise errors.UserError(
          f"character {text[start]!r} of {text!r} is not in the vocabulary:"
          " write the text with its symbols or add one"
        )
    return tuple(ids)

  def decode(self, ids: Sequence[int]) -> str:
    """Text up to the end token; a pad inside shows as its symbol."""
    ids = list(map(int, ids))
    if self.eos_id in ids:
      ids = ids[: ids.index(self.eos_id)]
    return self.text(ids)

  def text(self, ids: Sequence[int]) -> str:
    """Text of all ids, the end token's included."""
    return "".join(self.symbols[int(i)] for i in ids)

  def id(self, symbol: str) -> int:
    """Id of one symbol."""
    return self.symbols.index(symbol)


ARITHMETIC = Vocabulary(
  ("<pad>", "<eos>", *"0123456789", *"+-*/=,:>#;|(){}^. ", r"\frac", "?")
)
# For tasks that need more. What both write has one id, so that a verifier of
# the first reads the second as well; a model for it has as many tokens.
LOGIC = Vocabulary((*ARITHMETIC.symbols, *"<%&!ABCDEFT"))
# Verifiers on token ids read a digit's value off its id.
FIRST_DIGIT = ARITHMETIC.id("0")
