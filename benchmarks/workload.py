"""One GRPO step that every library can take: shapes, prompts, reward, settings.

Imported by the peers' interpreters too, hence standard library and NumPy alone.

Ids 0, 1 and 2 are PAD, EOS and UNK, which nobody samples: every completion has
its full length. Every other id is one character, so that each sampled token is
a character of the text that a library hands to its reward function.
"""

import dataclasses
import random

import numpy as np

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<eos>", "<unk>")
NEVER_SAMPLED = (PAD_ID, EOS_ID, UNK_ID)
SEED = 17
# GRPO: clipped surrogate, mean over tokens and then over sequences, no KL, one
# update of each rollout batch.
CLIP = 0.2
TEMPERATURE = 1.0
# AdamW behind a clipped gradient.
LEARNING_RATE = 1e-4
BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
# All libraries have this architecture: Qwen3's, tied embeddings.
INIT_STD = 0.02
ROPE_BASE = 1e6
NORM_EPSILON = 1e-6

_FIRST_CHARACTER, _LAST_ASCII = ord(" "), ord("~")
_FIRST_WIDE = ord("一")
_SURROGATES = range(0xD800, 0xE000)


@dataclasses.dataclass(frozen=True)
class Size:
  """Shapes of a model and of a step.

  Example: SIZES["S"] has 800,128 parameters, 128 sequences of 32 + 64 tokens.
  """

  name: str
  layers: int
  width: int
  heads: int
  kv_heads: int
  head_dim: int
  ffn: int
  vocab: int
  # Prompts of a step, and completions of each.
  prompts: int
  samples: int
  # The longest prompt of a step has exactly so many tokens.
  prompt_tokens: int
  # Every completion has exactly so many tokens.
  completion_tokens: int
  # Forward and backward passes of an update.
  micro_batches: int

  @property
  def sequences(self) -> int:
    return self.prompts * self.samples

  @property
  def generated_tokens(self) -> int:
    return self.sequences * self.completion_tokens

  @property
  def row_tokens(self) -> int:
    return self.prompt_tokens + self.completion_tokens

  @property
  def layer_matrix_parameters(self) -> int:
    """Of the matrices of one layer."""
    attention = 2 * self.width * self.head_dim * (self.heads + self.kv_heads)
    return attention + 3 * self.width * self.ffn

  @property
  def parameters(self) -> int:
    norms = 2 * self.width + 2 * self.head_dim
    layer = self.layer_matrix_parameters + norms
    return self.vocab * self.width + self.layers * layer + self.width


SIZES = {
  size.name: size
  for size in (
    # The quickstart's model, with this workload's vocabulary: 104,832.
    Size("Q", 2, 64, 4, 2, 16, 192, 96, 32, 8, 16, 20, 1),
    # 800,128 parameters.
    Size("S", 4, 128, 4, 2, 32, 384, 96, 16, 8, 32, 64, 1),
    # 54,540,288 parameters.
    Size("M", 12, 512, 8, 4, 64, 1536, 32_768, 8, 8, 64, 128, 4),
    # Qwen3-0.6B's shape, 596,049,920 parameters: for an accelerator.
    Size("L", 28, 1024, 16, 8, 128, 3072, 151_936, 32, 8, 256, 1024, 32),
  )
}


def with_micro_batches(size: Size, number: int | None) -> Size:
  """The size, split into so many passes; None leaves its own number.

  Raises:
    ValueError: if the passes would not be equal, or share a prompt's samples.
  """
  if number is None:
    return size
  if number < 1 or size.prompts % number:
    raise ValueError(
      f"micro-batches are {number}, which does not divide {size.prompts}"
      " prompts: choose a divisor"
    )
  return dataclasses.replace(size, micro_batches=number)


def alphabet(size: Size) -> list[str]:
  """The character of every id from 3 on: printable ASCII, then CJK upwards."""
  wanted = size.vocab - len(SPECIAL_TOKENS)
  codes = list(range(_FIRST_CHARACTER, _LAST_ASCII + 1))
  wide = range(_FIRST_WIDE, _FIRST_WIDE + wanted + len(_SURROGATES))
  codes += [code for code in wide if code not in _SURROGATES]
  return [chr(code) for code in codes[:wanted]]


def encode(text: str) -> list[int]:
  """Ids of a prompt, which is ASCII."""
  shift = len(SPECIAL_TOKENS) - _FIRST_CHARACTER
  return [ord(character) + shift for character in text]


def problems(size: Size, step: int) -> list[tuple[str, int]]:
  """The prompts of a step and their answers.

  Example: ("41+7-305=", -257). The first has all of `prompt_tokens`
  characters, the others between half of them and all.
  """
  rng = random.Random(f"{SEED} {step}")
  longest = size.prompt_tokens
  lengths = [rng.randint(longest // 2, longest) for _ in range(size.prompts)]
  return [_chain(rng, length) for length in [longest, *lengths[1:]]]


def _chain(rng: random.Random, length: int) -> tuple[str, int]:
  """A sum of exactly `length` characters that ends in "=", and its value."""
  text, total, sign = "", 0, 1
  left = length - 1
  while left > 0:
    digits = min(rng.randint(1, 3), left)
    # One place alone would hold a sign without a number.
    digits += left - digits == 1
    number = rng.randint(10 ** (digits - 1), 10**digits - 1)
    text, total = f"{text}{number}", total + sign * number
    left -= digits
    if left > 0:
      sign = rng.choice((-1, 1))
      text += "+" if sign > 0 else "-"
      left -= 1
  return text + "=", total


def prompt_arrays(
  size: Size, step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The prompts of a step as arrays.

  Returns:
    i32[G, P] ids, left-padded; bool[G, P], true on ids; i32[G] answers.
  """
  tokens = np.full((size.prompts, size.prompt_tokens), PAD_ID, np.int32)
  answers = np.zeros(size.prompts, np.int32)
  for row, (text, answer) in enumerate(problems(size, step)):
    tokens[row, -len(text) :] = encode(text)
    answers[row] = answer
  return tokens, tokens != PAD_ID, answers


def reward(completion: str, answer: int) -> float:
  """1 if the sum of the code points is as even or odd as the answer.

  A fresh model never finds the answer, and without a right sample there is no
  gradient. Parity is as cheap to verify and splits every group.
  """
  return float((sum(map(ord, completion)) + answer) % 2 == 0)


def rewards_of(prompts, completions, answer, **_) -> list[float]:
  """`reward` of many, as the peers' trainers call it."""
  del prompts
  return [
    reward(text, int(right))
    for text, right in zip(completions, answer, strict=True)
  ]


def odd_ids(size: Size) -> np.ndarray:
  """bool[V], true for ids whose code point is odd: `reward` of token ids."""
  codes = [0] * len(SPECIAL_TOKENS) + [ord(x) for x in alphabet(size)]
  return np.array(codes) % 2 == 1


def fixed_rollouts(
  size: Size, step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Rollouts that no model wrote: uniform completions of a step's prompts.

  Returns:
    i32[B, P] prompt ids, bool[B, P] mask, i32[B, T] completion ids, and
    f32[B] rewards; the samples of a prompt lie together.
  """
  tokens, mask, answers = prompt_arrays(size, step)
  rng = np.random.default_rng((SEED, step))
  completions = rng.integers(
    len(SPECIAL_TOKENS),
    size.vocab,
    (size.sequences, size.completion_tokens),
    np.int32,
  )
  by_row = lambda x: np.repeat(x, size.samples, axis=0)
  total = odd_ids(size)[completions].sum(axis=1) + by_row(answers)
  rewards = (total % 2 == 0).astype(np.float32)
  return by_row(tokens), by_row(mask), completions, rewards
