"""A tokenizer of the peers' kind: one character a token, for every id."""

import tokenizers
from tokenizers import decoders
from tokenizers import models
from tokenizers import pre_tokenizers
import transformers

from benchmarks import workload


def make(size: workload.Size) -> transformers.PreTrainedTokenizerFast:
  """The tokenizer; its ids are those of `workload.encode`."""
  pad, eos, unk = workload.SPECIAL_TOKENS
  pieces = [*workload.SPECIAL_TOKENS, *workload.alphabet(size)]
  vocabulary = {piece: token for token, piece in enumerate(pieces)}
  inner = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=unk))
  inner.pre_tokenizer = pre_tokenizers.Split(
    tokenizers.Regex(r"[\s\S]"), "isolated"
  )
  inner.decoder = decoders.Fuse()
  made = transformers.PreTrainedTokenizerFast(
    tokenizer_object=inner,
    pad_token=pad,
    eos_token=eos,
    unk_token=unk,
    padding_side="left",
    clean_up_tokenization_spaces=False,
    model_max_length=size.row_tokens,
  )
  text, _ = workload.problems(size, 0)[0]
  assert made(text)["input_ids"] == workload.encode(text)
  assert (made.pad_token_id, made.eos_token_id) == (
    workload.PAD_ID,
    workload.EOS_ID,
  )
  assert len(made) == size.vocab
  return made
