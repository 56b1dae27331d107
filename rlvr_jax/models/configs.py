"""What describes a model: one small frozen record, read by nobody else."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Shape of a decoder of the Llama, Qwen2 and Qwen3 kind.

  Example:
    ModelConfig(vocab_size=32, num_layers=2, width=64, num_heads=4,
                num_kv_heads=2, head_dim=16, mlp_width=192)
    has 102,784 parameters.
  """

  vocab_size: int
  num_layers: int
  width: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  mlp_width: int
  # Base of the rotary frequencies (`rope_theta` in Hugging Face configs).
  rope_base: float = 10_000.0
  norm_epsilon: float = 1e-6
  tied_embeddings: bool = False
  # Norms on the queries and keys of each head: Qwen3.
  qk_norm: bool = True
  # Biases of queries, keys and values: Qwen2 and Qwen2.5.
  attention_bias: bool = False
  # Standard deviation of every freshly drawn matrix.
  init_std: float = 0.02
  # Compute type of activations; parameters and statistics stay float32.
  dtype: str = "float32"
  # One compiled layer body for all layers. Off: unrolled, which is faster for
  # few small layers and compiles slower for many.
  scan_layers: bool = False
  # What the backward pass recomputes: "none", "dots" (all but matrix
  # products) or "full" (each layer from its input).
  remat: str = "none"
