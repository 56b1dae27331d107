"""Checkpoints made on the spot: `transformers` models with random weights."""

import copy
import pathlib

import torch
import transformers

_FAMILIES = {
  "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
  "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
  "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
  "olmo3": (transformers.Olmo3Config, transformers.Olmo3ForCausalLM),
}
_SHAPE = dict(
  vocab_size=61,
  hidden_size=32,
  intermediate_size=48,
  num_hidden_layers=2,
  num_attention_heads=4,
  num_key_value_heads=2,
  max_position_embeddings=256,
  pad_token_id=0,
  bos_token_id=1,
  eos_token_id=2,
)
# Every family in at least six shapes; each setting is of some of them.
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
LLAMA3 = dict(
  rope_type="llama3",
  factor=8.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=32,
)
_WINDOWS = dict(use_sliding_window=True, sliding_window=5, max_window_layers=1)
SHAPES = {
  "llama": {
    "plain": {},
    "one_kv_head": dict(num_key_value_heads=1, tie_word_embeddings=True),
    "as_many_kv_heads": dict(num_key_value_heads=4, rope_theta=500.0),
    "wide_heads": dict(head_dim=16, rms_norm_eps=1e-3),
    "biases": dict(attention_bias=True, tie_word_embeddings=True),
    "llama3_rope": dict(rope_scaling=LLAMA3, rope_theta=500_000.0),
    "linear_rope": dict(rope_scaling=dict(rope_type="linear", factor=4.0)),
    "yarn_rope": dict(rope_scaling=YARN, hidden_size=40, head_dim=10),
  },
  "qwen2": {
    "plain": {},
    "tied": dict(tie_word_embeddings=True, num_key_value_heads=1),
    "theta": dict(rope_theta=1e6, num_hidden_layers=3),
    "as_many_kv_heads": dict(num_key_value_heads=4, hidden_size=24),
    "windows": dict(**_WINDOWS, num_hidden_layers=3),
    "yarn_rope": dict(rope_scaling=YARN),
    "windows_yarn": dict(**_WINDOWS, rope_scaling=YARN),
  },
  "qwen3": {
    "plain": dict(head_dim=8),
    "tied": dict(head_dim=8, tie_word_embeddings=True),
    "wide_heads": dict(head_dim=24, num_key_value_heads=1),
    "biases": dict(head_dim=8, attention_bias=True),
    "windows": dict(**_WINDOWS, head_dim=8),
    "theta_yarn": dict(head_dim=12, rope_theta=1e6, rope_scaling=YARN),
  },
  "olmo3": {
    "plain": dict(sliding_window=5, num_hidden_layers=4),
    "yarn_rope": dict(sliding_window=5, num_hidden_layers=4, rope_scaling=YARN),
    "one_kv_head": dict(sliding_window=3, num_key_value_heads=1),
    "as_many_kv_heads": dict(sliding_window=7, num_key_value_heads=4),
    "tied": dict(
      sliding_window=4, num_hidden_layers=4, tie_word_embeddings=True
    ),
    "full_first": dict(
      sliding_window=4, layer_types=["full_attention", "sliding_attention"]
    ),
    "no_window": dict(layer_types=["full_attention"] * 2),
    "biases": dict(sliding_window=6, attention_bias=True),
  },
}


def make_model(family: str, shape: str, seed: int = 0):
  """A model whose every parameter is random, norms and biases too."""
  config_class, model_class = _FAMILIES[family]
  # `transformers` writes into the dicts that it is given.
  settings = copy.deepcopy(_SHAPE | SHAPES[family][shape])
  config = config_class(**settings, attn_implementation="eager")
  torch.manual_seed(seed)
  model = model_class(config).eval().float()
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      is_norm = parameter.ndim == 1 and "norm" in name
      parameter.normal_(1.0 if is_norm else 0.0, 0.2)
  return model


def save(model, folder: pathlib.Path, **settings) -> pathlib.Path:
  """Writes the model as `transformers` does."""
  model.save_pretrained(folder, **settings)
  return folder
