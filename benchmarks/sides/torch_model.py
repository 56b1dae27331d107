"""The model of the PyTorch sides: transformers' Qwen3, freshly drawn."""

import argparse
from typing import NamedTuple

import torch
import transformers

from benchmarks import workload
from benchmarks.sides import side

PACKAGES = ("torch", "transformers", "tokenizers", "trl", "accelerate", "numpy")


class Setting(NamedTuple):
  """Where and in what a side computes.

  Attributes:
    device: "cpu" or "cuda".
    dtype: of parameters, activations and optimizer.
    clock: waits for that device.
  """

  device: str
  dtype: torch.dtype
  clock: side.Clock

  def told(self) -> dict[str, object]:
    """What a report says of it."""
    is_cpu = self.device == "cpu"
    peak = None if is_cpu else torch.cuda.max_memory_allocated() / 2**20
    return {
      "device": "cpu" if is_cpu else torch.cuda.get_device_name(),
      "dtype": str(self.dtype).removeprefix("torch."),
      "packages": PACKAGES,
      "peak_device_mib": peak,
    }


def setting(args: argparse.Namespace) -> Setting:
  """Of the flags and the machine; seeds PyTorch too."""
  torch.manual_seed(workload.SEED)
  is_cpu = not torch.cuda.is_available()
  dtype = getattr(torch, side.dtype_of(args, is_cpu))
  if is_cpu:
    return Setting("cpu", dtype, side.Clock())
  return Setting("cuda", dtype, side.Clock(torch.cuda.synchronize))


def build(size: workload.Size) -> transformers.Qwen3ForCausalLM:
  """A float32 model on the CPU."""
  config = transformers.Qwen3Config(
    vocab_size=size.vocab,
    hidden_size=size.width,
    intermediate_size=size.ffn,
    num_hidden_layers=size.layers,
    num_attention_heads=size.heads,
    num_key_value_heads=size.kv_heads,
    head_dim=size.head_dim,
    max_position_embeddings=2 * size.row_tokens,
    rms_norm_eps=workload.NORM_EPSILON,
    rope_parameters={
      "rope_type": "default",
      "rope_theta": workload.ROPE_BASE,
    },
    tie_word_embeddings=True,
    initializer_range=workload.INIT_STD,
    pad_token_id=workload.PAD_ID,
    eos_token_id=workload.EOS_ID,
    bos_token_id=None,
  )
  return transformers.Qwen3ForCausalLM(config)


def parameters(model: torch.nn.Module) -> int:
  """How many numbers are learned; tied ones once."""
  return sum(x.numel() for x in model.parameters())
