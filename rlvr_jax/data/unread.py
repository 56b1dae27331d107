"""A task of which only the shapes are known, to plan a run without data."""

import dataclasses

import jax
import jax.numpy as jnp

from rlvr_jax import records
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.data import tasks
from rlvr_jax.data import texts

# [inferred] for large vocabularies: rather too many tokens than too few.
_CHARACTERS_PER_TOKEN = 3
_GOLD_BYTES = 64


@dataclasses.dataclass(frozen=True)
class UnreadVocabulary:
  """Stands in for a tokenizer that is not at hand: texts have lengths alone.

  Example: UnreadVocabulary(32).encode("seven: 7") == (2, 2, 2).
  """

  vocab_size: int
  pad_id: int = 0
  stop_ids: tuple[int, ...] = (1,)

  @property
  def symbols(self) -> tuple[str, ...]:
    return ("",) * self.vocab_size

  def encode(self, text: str) -> tuple[int, ...]:
    return (2,) * -(-len(text) // _CHARACTERS_PER_TOKEN)

  def id(self, symbol: str) -> int:
    del symbol
    return 2


def task(
  config: tasks.DataConfig, vocab_size: int, num_prompts: int
) -> tasks.Task:
  """The shapes of a task from files.

  Args:
    config: which problems.
    vocab_size: V of the model.
    num_prompts: N of the training split, and of every other.
  """
  array = lambda dtype, *shape: jax.ShapeDtypeStruct(
    (num_prompts, *shape), dtype
  )
  length = config.prompt_tokens
  prompts = records.PromptBatch(
    prompt_tokens=array(jnp.int32, length),
    prompt_mask=array(jnp.float32, length),
    prompt_ids=array(jnp.int32),
    answers={texts.GOLD: array(jnp.uint8, _GOLD_BYTES)},
  )
  split = prompts_lib.PromptSet(
    prompts=prompts,
    demonstrations=array(jnp.int32, 1),
    first_demonstration=array(jnp.int32),
    num_demonstrations=array(jnp.int32),
  )
  return tasks.Task(UnreadVocabulary(vocab_size), split, split, split)
