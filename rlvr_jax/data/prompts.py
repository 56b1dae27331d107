"""Texts into buckets of token ids: prompts padded left, completions right."""

from collections.abc import Callable, Mapping, Sequence
import types

from flax import struct
import jax
import numpy as np

from rlvr_jax import errors
from rlvr_jax import records
from rlvr_jax.data import vocabulary as vocabulary_lib


@struct.dataclass
class PromptSet:
  """One split of a data set as arrays, to be gathered from inside jit.

  Attributes:
    prompts: a PromptBatch with all N prompts; prompt_ids = 0 .. N - 1.
    demonstrations: i32[M, T], right-padded texts to imitate, with end token.
    first_demonstration: i32[N], where a prompt's demonstrations begin.
    num_demonstrations: i32[N], how many follow; at least 1.
  """

  prompts: records.PromptBatch
  demonstrations: jax.Array
  first_demonstration: jax.Array
  num_demonstrations: jax.Array

  @property
  def num_prompts(self) -> int:
    return self.prompts.prompt_ids.shape[0]


def pad_left(
  rows: Sequence[Sequence[int]], length: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
  """Token rows into i32[N, length] and the mask f32[N, length]."""
  tokens = np.full((len(rows), length), pad_id, np.int32)
  mask = np.zeros((len(rows), length), np.float32)
  for tokens_row, mask_row, row in zip(tokens, mask, rows, strict=True):
    if row:
      tokens_row[-len(row) :] = row
      mask_row[-len(row) :] = 1
  return tokens, mask


def pad_right(
  rows: Sequence[Sequence[int]], length: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
  """Token rows into i32[N, length] and the mask f32[N, length]."""
  tokens = np.full((len(rows), length), pad_id, np.int32)
  mask = np.zeros((len(rows), length), np.float32)
  for tokens_row, mask_row, row in zip(tokens, mask, rows, strict=True):
    tokens_row[: len(row)] = row
    mask_row[: len(row)] = 1
  return tokens, mask


def prompt_set(
  rows: Sequence[dict],
  vocabulary: vocabulary_lib.Vocabulary,
  prompt_tokens: int,
  completion_tokens: int,
  answer_features: Sequence[str],
  hints: Mapping[str, Callable[[dict], str]] = types.MappingProxyType({}),
) -> PromptSet:
  """Encodes a split.

  Args:
    rows: features by name, with "prompt" and "demonstrations" (one a line).
    vocabulary: of the task.
    prompt_tokens: length P of the prompt bucket.
    completion_tokens: length T of the completion bucket.
    answer_features: features that the verifier reads.
    hints: what a teacher may be shown, by name, each text a function of a row.

  Raises:
    errors.UserError: if the split is empty or a text is longer than its
      bucket.
  """
  if not rows:
    raise errors.UserError("a split of config.data is empty: choose another")
  prompts = [vocabulary.encode(row["prompt"]) for row in rows]
  _check_fits(prompts, prompt_tokens, "config.data.prompt_tokens", vocabulary)
  texts = [row["demonstrations"].split("\n") for row in rows]
  demonstrations = [
    (*vocabulary.encode(text), vocabulary.eos_id)
    for group in texts
    for text in group
  ]
  _check_fits(
    demonstrations,
    completion_tokens,
    "config.rollout.completion_tokens",
    vocabulary,
  )
  tokens, mask = pad_left(prompts, prompt_tokens, vocabulary.pad_id)
  completions, _ = pad_right(
    demonstrations, completion_tokens, vocabulary.pad_id
  )
  shown = {
    name: [vocabulary.encode(text(row)) for row in rows]
    for name, text in hints.items()
  }
  counts = np.array([len(group) for group in texts], np.int32)
  return PromptSet(
    prompts=records.PromptBatch(
      prompt_tokens=tokens,
      prompt_mask=mask,
      prompt_ids=np.arange(len(rows), dtype=np.int32),
      answers={
        name: np.asarray([row[name] for row in rows], np.int32)
        for name in answer_features
      },
      hints={
        name: pad_right(texts, max(map(len, texts)), vocabulary.pad_id)
        for name, texts in shown.items()
      }
      or None,
    ),
    demonstrations=completions,
    first_demonstration=(np.cumsum(counts) - counts).astype(np.int32),
    num_demonstrations=counts,
  )


def _check_fits(rows, length, field, vocabulary) -> None:
  longest = max(rows, key=len)
  if len(longest) > length:
    raise errors.UserError(
      f"{field} is {length}, but {vocabulary.decode(longest)!r} has"
      f" {len(longest)} tokens: set it to {len(longest)} or more"
    )


def take(
  prompts: records.PromptBatch, indices: jax.Array
) -> records.PromptBatch:
  """The PromptBatch of the given rows i32[G]; works inside jit."""
  return jax.tree.map(lambda x: x[indices], prompts)
