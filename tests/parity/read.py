"""A made checkpoint read by us, and what both sides say of the same tokens."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import torch

from rlvr_jax import records
from rlvr_jax import sharding
from rlvr_jax.models import configs
from rlvr_jax.models import transformer
from rlvr_jax.weights import folders

# Two cores: torch's threads would wait for XLA's.
torch.set_num_threads(1)


def like(config: configs.ModelConfig, mesh_config=None):
  """Shapes and shardings of a model's parameters."""
  mesh = sharding.make_mesh(mesh_config or sharding.MeshConfig())
  return folders.abstract_params(config, mesh)


def model_and_params(folder, scan_layers=False):
  """Our model of a folder, and its parameters."""
  config = folders.model_config(folder)
  config = dataclasses.replace(config, scan_layers=scan_layers)
  params = folders.read(folder, config, like(config))
  return transformer.Transformer(config), params


def left_padded(lengths, width, vocab_size=61, seed=0) -> records.PromptBatch:
  """Prompts of the given lengths, in one bucket."""
  rng = np.random.default_rng(seed)
  mask = np.arange(width)[None] >= width - np.array(lengths)[:, None]
  tokens = rng.integers(3, vocab_size, mask.shape)
  return records.PromptBatch(
    prompt_tokens=jnp.asarray(np.where(mask, tokens, 0), jnp.int32),
    prompt_mask=jnp.asarray(mask, jnp.float32),
    prompt_ids=jnp.arange(len(lengths), dtype=jnp.int32),
    answers={},
  )
