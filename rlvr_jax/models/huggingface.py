"""Hugging Face checkpoints: their config.json and their tensors' names.

Pure: dicts in, dicts out; `rlvr_jax.weights.folders` reads and writes the
files. The names are those that `transformers` gives the classes
LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM and Olmo3ForCausalLM.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

from rlvr_jax import errors
from rlvr_jax import settings
from rlvr_jax.models import configs

FAMILIES = ("llama", "qwen2", "qwen3", "olmo3")
# What a family's config.json means where it does not say.
_ROPE_BASES = {
  "llama": 10_000.0,
  "qwen2": 10_000.0,
  "qwen3": 10_000.0,
  "olmo3": 500_000.0,
}
_ARCHITECTURES = {
  "llama": "LlamaForCausalLM",
  "qwen2": "Qwen2ForCausalLM",
  "qwen3": "Qwen3ForCausalLM",
  "olmo3": "Olmo3ForCausalLM",
}
# Keys that would change the numbers, and the only values that are known here.
_NEEDED_VALUES = {
  "hidden_act": ("silu",),
  "mlp_bias": (False,),
  "partial_rotary_factor": (1.0,),
}


# Longest text, in tokens, that readers of a file of ours may take a model to be
# good for. # ours: a ModelConfig has no such bound
_MAX_POSITIONS = 32_768
# Fields of a ModelConfig that are how it is run, not what it is.
NOT_IN_FILES = ("init_std", "dtype", "scan_layers", "remat", "attention")


class Place(NamedTuple):
  """Where a tensor of a checkpoint goes.

  Attributes:
    path: of the parameter; of one layer without the name of the layer.
    layer: which layer, or None outside of them.
    transposed: a torch Linear holds [out, in], ours [in, out].
  """

  path: tuple[str, ...]
  layer: int | None
  transposed: bool


def model_config(
  config: Mapping[str, Any], file: str = "config.json"
) -> configs.ModelConfig:
  """The shape that a config.json describes.

  Example: {"model_type": "qwen2", "vocab_size": 151936, ...} gives biases on
  queries, keys and values, and no QK-norm.

  Args:
    config: content of the file, of any release of `transformers` from 4 on.
    file: its name, for messages.

  Raises:
    errors.UserError: if the architecture, the kind of rotary embedding or a
      setting is none that is known here, or a key is missing.
  """
  family = config.get("model_type")
  settings.require(
    family in FAMILIES,
    f"{file}: model_type is {family!r}, and only {', '.join(FAMILIES)} are"
    " known here: choose a checkpoint of one of them",
  )
  for key, valid in _NEEDED_VALUES.items():
    settings.require(
      config.get(key, valid[0]) in valid,
      f"{file}: {key} is {config.get(key)!r}, and only {valid[0]!r} is known"
      " here: choose another checkpoint",
    )

  def get(key: str) -> Any:
    if config.get(key) is None:
      raise errors.UserError(
        f"{file}: {key} is missing: take the file of the published checkpoint"
      )
    return config[key]

  num_layers, num_heads = get("num_hidden_layers"), get("num_attention_heads")
  sliding_layers, sliding_window = _sliding(config, family, num_layers)
  base, scaling = _rope(config, family, file)
  has_bias = bool(config.get("attention_bias", False))
  head_dim = config.get("head_dim") or (
    128 if family == "qwen3" else get("hidden_size") // num_heads
  )
  return configs.ModelConfig(
    vocab_size=get("vocab_size"),
    num_layers=num_layers,
    width=get("hidden_size"),
    num_heads=num_heads,
    num_kv_heads=config.get("num_key_value_heads") or num_heads,
    head_dim=head_dim,
    mlp_width=get("intermediate_size"),
    rope_base=base,
    rope_scaling=scaling,
    norm_epsilon=config.get("rms_norm_eps", 1e-6),
    tied_embeddings=bool(config.get("tie_word_embeddings", False)),
    qk_norm={"qwen3": "head", "olmo3": "full"}.get(family, "none"),
    post_norm=family == "olmo3",
    attention_bias=has_bias or family == "qwen2",
    output_bias=has_bias and family != "qwen2",
    sliding_layers=sliding_layers,
    sliding_window=sliding_window,
    scales_sliding_rope=family != "olmo3" or not sliding_layers,
    init_std=config.get("initializer_range", 0.02),
  )


def _sliding(config, family, num_layers) -> tuple[tuple[int, ...], int]:
  """Layers with a window, and how wide it is."""
  window = config.get("sliding_window") or 0
  if family == "olmo3":
    kinds = config.get("layer_types") or [
      "full_attention" if i % 4 == 3 else "sliding_attention"
      for i in range(num_layers)
    ]
  elif family in ("qwen2", "qwen3") and config.get("use_sliding_window"):
    first = config.get("max_window_layers", 28)
    kinds = config.get("layer_types") or [
      "sliding_attention" if i >= first else "full_attention"
      for i in range(num_layers)
    ]
  else:
    kinds = []
  layers = tuple(i for i, x in enumerate(kinds) if x == "sliding_attention")
  return (layers, window) if layers and window else ((), 0)


def _rope(config, family, file) -> tuple[float, configs.RopeScaling | None]:
  """Base and scaling of the rotary frequencies, old spelling or new."""
  block = config.get("rope_parameters") or config.get("rope_scaling") or {}
  # OLMo 3's new spelling has a block for each kind of layer.
  plain = block.get("sliding_attention") or {}
  block = block.get("full_attention", block) or {}
  base = block.get("rope_theta") or config.get("rope_theta")
  base = float(base or _ROPE_BASES[family])
  settings.require(
    plain.get("rope_type", "default") == "default"
    and plain.get("rope_theta", base) == base,
    f"{file}: rope_parameters.sliding_attention is {plain}, but sliding layers"
    " can only leave the scaling out: choose another checkpoint",
  )
  kind = block.get("rope_type") or block.get("type") or "default"
  if kind == "default":
    return base, None
  settings.require(
    kind in configs.ROPE_SCALINGS,
    f"{file}: rope_type is {kind!r}, and only default,"
    f" {', '.join(configs.ROPE_SCALINGS)} are known here: choose another"
    " checkpoint",
  )
  settings.require(
    not (block.get("mscale") or block.get("mscale_all_dim"))
    and block.get("truncate", True),
    f"{file}: the rope scaling {block} has mscale or no truncation, which are"
    " not known here: choose another checkpoint",
  )
  settings.require(
    bool(block.get("factor")),
    f"{file}: the rope scaling {block} has no factor: take the file of the"
    " published checkpoint",
  )
  length = block.get("original_max_position_embeddings") or config.get(
    "max_position_embeddings", 0
  )
  keys = ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow")
  given = {k: float(block[k]) for k in keys if block.get(k) is not None}
  return base, configs.RopeScaling(
    kind=kind,
    factor=float(block["factor"]),
    original_positions=0 if kind == "linear" else length,
    attention_factor=float(block.get("attention_factor") or 0.0),
    **given,
  )


def config_json(config: configs.ModelConfig) -> dict[str, Any]:
  """A config.json for a model that came from none.

  Raises:
    errors.UserError: if no family has such a shape.
  """
  found = {
    "vocab_size": config.vocab_size,
    "num_hidden_layers": config.num_layers,
    "hidden_size": config.width,
    "num_attention_heads": config.num_heads,
    "num_key_value_heads": config.num_kv_heads,
    "head_dim": config.head_dim,
    "intermediate_size": config.mlp_width,
    "rms_norm_eps": config.norm_epsilon,
    "tie_word_embeddings": config.tied_embeddings,
    "initializer_range": config.init_std,
    "hidden_act": "silu",
    "max_position_embeddings": _MAX_POSITIONS,
    "rope_theta": config.rope_base,
    "torch_dtype": "float32",
  }
  if scaling := config.rope_scaling:
    block = dataclasses.asdict(scaling)
    block["rope_type"] = block.pop("kind")
    block["original_max_position_embeddings"] = block.pop("original_positions")
    block["attention_factor"] = scaling.attention_factor or None
    wanted = _SCALING_KEYS[scaling.kind]
    found["rope_scaling"] = {
      key: block[key] for key in wanted if block[key] is not None
    }
  if config.sliding_layers:
    found |= {
      "sliding_window": config.sliding_window,
      "use_sliding_window": True,
      "max_window_layers": min(config.sliding_layers),
      "layer_types": [
        "sliding_attention" if i in config.sliding_layers else "full_attention"
        for i in range(config.num_layers)
      ],
    }
  for family in FAMILIES:
    candidate = found | {
      "model_type": family,
      "architectures": [_ARCHITECTURES[family]],
    }
    if family != "qwen2":
      candidate["attention_bias"] = config.attention_bias
    if family == "olmo3":
      candidate["rope_parameters"] = _rope_by_layer(found)
    if same_model(model_config(candidate), config):
      return candidate
  raise errors.UserError(
    "config.model has a mixture of norms, biases and windows that none of"
    f" {', '.join(FAMILIES)} has: such a model has no Hugging Face form"
  )


def _rope_by_layer(found: Mapping[str, Any]) -> dict[str, Any]:
  """OLMo 3's spelling: without it, `transformers` 5 gives sliding layers its
  own default base."""
  plain = {"rope_type": "default", "rope_theta": found["rope_theta"]}
  return {
    "sliding_attention": plain,
    "full_attention": plain | found.get("rope_scaling", {}),
  }


_SCALING_KEYS = {
  "linear": ("rope_type", "factor"),
  "llama3": (
    "rope_type",
    "factor",
    "original_max_position_embeddings",
    "low_freq_factor",
    "high_freq_factor",
  ),
  "yarn": (
    "rope_type",
    "factor",
    "original_max_position_embeddings",
    "beta_fast",
    "beta_slow",
    "attention_factor",
  ),
}


def same_model(a: configs.ModelConfig, b: configs.ModelConfig) -> bool:
  """Whether two shapes hold the same parameters and compute the same."""
  return all(
    getattr(a, field.name) == getattr(b, field.name)
    for field in dataclasses.fields(a)
    if field.name not in NOT_IN_FILES
  )


def tensors(config: configs.ModelConfig) -> dict[str, Place]:
  """Every tensor of a checkpoint by its name there.

  Example: "model.layers.3.self_attn.q_proj.weight" has the place
  (("attention", "query", "kernel"), 3, True).
  """
  found = {
    "model.embed_tokens.weight": Place(("embedding",), None, False),
    "model.norm.weight": Place(("final_norm", "scale"), None, False),
  }
  if not config.tied_embeddings:
    found["lm_head.weight"] = Place(("lm_head",), None, True)
  attention = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
  mlp = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
  norms = ("input_layernorm", "post_attention_layernorm")
  if config.post_norm:
    norms = ("post_attention_layernorm", "post_feedforward_layernorm")
  for layer in range(config.num_layers):
    start = f"model.layers.{layer}."
    add = lambda name, *path, transposed=False, start=start, layer=layer: (
      found.update({start + name: Place(path, layer, transposed)})
    )
    for theirs, ours in (attention | {"o_proj": "output"}).items():
      name = f"self_attn.{theirs}"
      add(f"{name}.weight", "attention", ours, "kernel", transposed=True)
      has_bias = config.attention_bias
      if ours == "output":
        has_bias = config.output_bias
      if has_bias:
        add(f"{name}.bias", "attention", ours, "bias")
    for theirs, ours in mlp.items():
      add(f"mlp.{theirs}.weight", "mlp", ours, "kernel", transposed=True)
    if config.qk_norm != "none":
      add("self_attn.q_norm.weight", "attention", "query_norm", "scale")
      add("self_attn.k_norm.weight", "attention", "key_norm", "scale")
    add(f"{norms[0]}.weight", "attention_norm", "scale")
    add(f"{norms[1]}.weight", "mlp_norm", "scale")
  return found


def is_ignored(name: str, config: configs.ModelConfig) -> bool:
  """Whether a tensor that has no place may lie in a checkpoint.

  Old files hold the rotary frequencies, and tied ones the same matrix twice.
  """
  return name.endswith("rotary_emb.inv_freq") or (
    config.tied_embeddings and name == "lm_head.weight"
  )
