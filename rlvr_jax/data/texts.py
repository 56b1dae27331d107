"""Texts as arrays, so that an answer travels with its prompt."""

from collections.abc import Sequence

import numpy as np

# Name of the answer in `PromptBatch.answers` that a verifier of texts reads.
GOLD = "gold"


def bytes_of(texts: Sequence[str]) -> np.ndarray:
  """Texts as UTF-8, u8[N, L], with zeros behind them.

  Example: bytes_of(["7", "1/2"]) is [[55, 0, 0], [49, 47, 50]].
  """
  encoded = [text.encode() for text in texts]
  rows = np.zeros((len(encoded), max(map(len, encoded))), np.uint8)
  for row, text in zip(rows, encoded, strict=True):
    row[: len(text)] = list(text)
  return rows


def text_of(row: np.ndarray) -> str:
  """The text in a row of `bytes_of`."""
  return bytes(row).rstrip(b"\0").decode()
