"""A rollout dump of another trainer -> a rollout file of ours.

python -m rlvr_jax.import_rollouts --jsonl=DUMP --out=FILE \
    --format=verl --tokenizer=FOLDER --fields=is_correct=acc

DUMP is .jsonl, .json or .parquet, the first two perhaps with .gz, with a row
for each completion; `rlvr_jax.rollouts.dumps` says what is read of it and what
dumps of verl, TRL and slime lack. `python -m benchmarks.losses
--rollouts=FILE` compares methods on it.
"""

import pathlib

from absl import flags
import numpy as np

from rlvr_jax import errors
from rlvr_jax import launch
from rlvr_jax import records
from rlvr_jax.data import tokenizer as tokenizer_lib
from rlvr_jax.rollouts import dumps
from rlvr_jax.rollouts import files as rollout_files
from rlvr_jax.rollouts import grouping

_DUMP = flags.DEFINE_string("jsonl", "", "The dump.")
_OUT = flags.DEFINE_string("out", "", "The .npz file that it becomes.")
_FORMAT = flags.DEFINE_enum(
  "format", "rollouts", list(dumps.FORMATS), "Whose names its rows have."
)
_FIELDS = flags.DEFINE_list(
  "fields", [], "Other names, as NAME=KEY; NAME= leaves one out."
)
_TOKENIZER = flags.DEFINE_string(
  "tokenizer", "", "Folder of the model's tokenizer, where the dump has texts."
)


def main() -> None:
  """Reads, checks and writes."""
  for flag in (_DUMP, _OUT):
    if not flag.value:
      raise errors.UserError(f"--{flag.name} is missing: give it a file")
  tokenizer, pad_id = None, 0
  if _TOKENIZER.value:
    tokenizer = tokenizer_lib.load(_TOKENIZER.value)
    pad_id = tokenizer.pad_id
  keys = dumps.keys_of(_FORMAT.value, _FIELDS.value)
  rows = dumps.read(_DUMP.value, keys, tokenizer)
  batch = grouping.batch(rows, pad_id)
  rollout_files.write(pathlib.Path(_OUT.value), batch)
  print(f"wrote {_OUT.value}: {summary(batch)}")
  if tokenizer:
    print("its texts were encoded anew: ids may differ from those sampled")


def summary(batch: records.RolloutBatch) -> str:
  """What a batch holds, in one sentence."""
  valid = int(np.sum(batch.valid))
  fields = records.fields(batch)
  held = sorted(x for x in fields if x.endswith(("logprobs", "is_correct")))
  text = (
    f"{batch.prompts.prompt_ids.shape[0]} prompts, {valid} completions,"
    f" {int(np.sum(batch.completion_mask))} tokens"
  )
  if rest := len(batch.valid) - valid:
    text += f", and {rest} rows that only fill the shape, since groups differ"
  return f"{text}; with {', '.join(held) or 'no log-probabilities'}"


if __name__ == "__main__":
  launch.run(main)
