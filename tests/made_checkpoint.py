"""A checkpoint folder with a tokenizer, problems in files, and a verifier.

The verifier is loaded by worker processes: this module imports no jax at its
top.
"""

import json
import pathlib
import random
import shutil


def even_length(response: str, gold: str) -> str:
  """Right where the response has an even number of characters.

  A fresh model satisfies it half of the time.
  """
  if gold.startswith("x"):
    return "gold_unparsed"
  return "wrong" if len(response) % 2 else "correct"


def write_problems(path: pathlib.Path, number: int, seed: int) -> None:
  """Sums, one JSON object a line."""
  rng = random.Random(seed)
  with open(path, "w", encoding="utf-8") as file:
    for _ in range(number):
      a, b = rng.randint(1, 99), rng.randint(100 * seed, 100 * seed + 99)
      row = {"question": f"What is {a}+{b}?", "answer": str(a + b)}
      file.write(json.dumps(row) + "\n")


def make(folder: pathlib.Path) -> None:
  """Writes model/, train.jsonl and test.jsonl."""
  from flax import linen as nn
  import jax

  from rlvr_jax.data import tokenizer
  from rlvr_jax.models import huggingface
  from rlvr_jax.models import transformer
  from rlvr_jax.weights import folders
  from tests import testing
  from tests.data import made

  made.make_tokenizer(folder / "tokenizer", "qwen2.5")
  found = tokenizer.load(folder / "tokenizer")
  config = testing.tiny_config(
    # Rounded up, as published models have it.
    vocab_size=-(-found.vocab_size // 8) * 8,
    qk_norm="none",
    attention_bias=True,
    tied_embeddings=True,
  )
  folders.write(
    folder / "model",
    nn.unbox(transformer.init_params(config, jax.random.key(0))),
    config,
    config_json=huggingface.config_json(config),
    dtype="float32",
  )
  for file in (folder / "tokenizer").iterdir():
    shutil.copy(file, folder / "model" / file.name)
  write_problems(folder / "train.jsonl", 40, seed=1)
  write_problems(folder / "test.jsonl", 12, seed=2)
