"""What describes a model: one small frozen record, read by nobody else."""

import dataclasses

from rlvr_jax import names
from rlvr_jax import settings

QK_NORMS = ("none", "head", "full")
ROPE_SCALINGS = ("linear", "llama3", "yarn")
ATTENTIONS = ("auto", "xla")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How rotary frequencies were stretched for longer texts.

  "linear": all divided by `factor` ("Extending Context Window of LLMs via
  Position Interpolation", https://arxiv.org/abs/2306.15595). "llama3": those
  with wavelengths beyond original_positions / low_freq_factor divided, those
  below original_positions / high_freq_factor left, between them a mixture
  (Llama 3.1's released code). "yarn": the same in terms of rotations,
  between `beta_slow` and `beta_fast` of them, and angles' cosines and sines
  multiplied by a number ("YaRN", https://arxiv.org/abs/2309.00071).

  Example: RopeScaling("llama3", 8.0, 8192) is Llama 3.1's.
  """

  kind: str
  factor: float
  # Length that the model was first trained on, in tokens.
  original_positions: int = 0
  low_freq_factor: float = 1.0
  high_freq_factor: float = 4.0
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  # What "yarn" multiplies cosines and sines by; 0 takes 0.1 ln(factor) + 1.
  attention_factor: float = 0.0

  def __post_init__(self):
    _one_of("model.rope_scaling.kind", self.kind, ROPE_SCALINGS)
    settings.require(
      self.kind == "linear" or self.original_positions > 0,
      f"config.model.rope_scaling.original_positions is"
      f" {self.original_positions}: {self.kind!r} needs the length that the"
      " model was first trained on",
    )


# Settings of a model that count something.
_SIZES = (
  "vocab_size",
  "num_layers",
  "width",
  "num_heads",
  "num_kv_heads",
  "head_dim",
  "mlp_width",
)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Shape of a decoder of the Llama, Qwen2, Qwen3 and OLMo 3 kind.

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
  rope_scaling: RopeScaling | None = None
  norm_epsilon: float = 1e-6
  tied_embeddings: bool = False
  # Norms on queries and keys: of each "head" (Qwen3), over their "full" width
  # (OLMo 3), or "none" (Llama, Qwen2).
  qk_norm: str = "head"
  # Norms on what attention and MLP give instead of what they take: OLMo 3.
  post_norm: bool = False
  # Biases of queries, keys and values: Qwen2 and Qwen2.5.
  attention_bias: bool = False
  # A bias of attention's output: `attention_bias` in Llama's and Qwen3's files.
  output_bias: bool = False
  # Layers whose queries see the last `sliding_window` tokens, themselves
  # included; the others see all.
  sliding_layers: tuple[int, ...] = ()
  sliding_window: int = 0
  # Whether those layers' frequencies are stretched as well; OLMo 3's are not.
  scales_sliding_rope: bool = True
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
  # Whose attention passes of many queries use: "auto" takes the backend's own
  # kernel where it suits, "xla" never does.
  attention: str = "auto"

  def __post_init__(self):
    _one_of("model.qk_norm", self.qk_norm, QK_NORMS)
    _one_of("model.attention", self.attention, ATTENTIONS)
    for name in _SIZES:
      value = getattr(self, name)
      settings.require(
        value >= 1, f"config.model.{name} is {value}: set it to 1 or more"
      )
    settings.require(
      self.head_dim % 2 == 0,
      f"config.model.head_dim is {self.head_dim}: rotary positions turn pairs,"
      " so make it even",
    )
    settings.require(
      self.num_heads % self.num_kv_heads == 0,
      f"config.model.num_kv_heads is {self.num_kv_heads}, which does not divide"
      f" num_heads ({self.num_heads}): choose a divisor",
    )
    settings.require(
      not self.sliding_layers or self.sliding_window > 0,
      f"config.model.sliding_window is {self.sliding_window}, but"
      " sliding_layers names layers that look through it: set it above 0",
    )
    settings.require(
      all(0 <= layer < self.num_layers for layer in self.sliding_layers),
      f"config.model.sliding_layers is {self.sliding_layers}, but there are"
      f" layers 0 to {self.num_layers - 1}: name those alone",
    )


def _one_of(name: str, value: str, valid: tuple[str, ...]) -> None:
  settings.require(
    value in valid,
    f"config.{name} is {value!r}: {names.did_you_mean(value, valid)}",
  )
