"""config.json of the four families, in the spellings of several releases."""

import dataclasses
import json

import pytest

from experiments import common
from rlvr_jax import errors
from rlvr_jax.models import configs
from rlvr_jax.models import huggingface
from tests import testing

# config.json as it lies beside published weights, less what nobody reads.
_QWEN2P5_MATH = {
  "model_type": "qwen2",
  "vocab_size": 151_936,
  "num_hidden_layers": 28,
  "hidden_size": 1536,
  "intermediate_size": 8960,
  "num_attention_heads": 12,
  "num_key_value_heads": 2,
  "max_window_layers": 21,
  "sliding_window": 4096,
  "use_sliding_window": False,
  "rms_norm_eps": 1e-06,
  "rope_theta": 10_000,
  "tie_word_embeddings": True,
  "hidden_act": "silu",
}
_QWEN3_4B = {
  "model_type": "qwen3",
  "vocab_size": 151_936,
  "num_hidden_layers": 36,
  "hidden_size": 2560,
  "intermediate_size": 9728,
  "num_attention_heads": 32,
  "num_key_value_heads": 8,
  "head_dim": 128,
  "attention_bias": False,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1_000_000,
  "rope_scaling": None,
  "tie_word_embeddings": True,
  "hidden_act": "silu",
}
_LLAMA_3P1_8B = {
  "model_type": "llama",
  "vocab_size": 128_256,
  "num_hidden_layers": 32,
  "hidden_size": 4096,
  "intermediate_size": 14_336,
  "num_attention_heads": 32,
  "num_key_value_heads": 8,
  "rms_norm_eps": 1e-05,
  "rope_theta": 500_000.0,
  "rope_scaling": {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
  },
  "hidden_act": "silu",
  "mlp_bias": False,
}
_OLMO3_7B = {
  "model_type": "olmo3",
  "vocab_size": 100_278,
  "num_hidden_layers": 32,
  "hidden_size": 4096,
  "intermediate_size": 11_008,
  "num_attention_heads": 32,
  "num_key_value_heads": 32,
  "rms_norm_eps": 1e-06,
  "rope_theta": 500_000,
  "rope_scaling": {
    "attention_factor": 1.2079441541679836,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "yarn",
  },
  "sliding_window": 4096,
  "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 8,
  "hidden_act": "silu",
}


@pytest.mark.parametrize(
  "name, published",
  [("qwen2p5_math_1p5b", _QWEN2P5_MATH), ("qwen3_4b", _QWEN3_4B)],
)
def test_published_files_give_the_shapes_of_the_experiments(name, published):
  ours = configs.ModelConfig(**common.MODELS[name])
  assert huggingface.same_model(huggingface.model_config(published), ours)


def test_llama_3p1():
  found = huggingface.model_config(_LLAMA_3P1_8B)
  assert found.rope_scaling == configs.RopeScaling("llama3", 8.0, 8192)
  assert found.rope_base == 500_000.0
  assert (found.qk_norm, found.attention_bias, found.head_dim) == (
    "none",
    False,
    128,
  )


def test_olmo_3():
  found = huggingface.model_config(_OLMO3_7B)
  assert found.sliding_layers == tuple(i for i in range(32) if i % 4 != 3)
  assert (found.sliding_window, found.scales_sliding_rope) == (4096, False)
  assert (found.qk_norm, found.post_norm) == ("full", True)
  assert found.rope_scaling.kind == "yarn"
  # 0.1 ln 8 + 1 to the last digit: what a missing number would mean.
  assert found.rope_scaling.attention_factor == pytest.approx(
    1.2079441541679836
  )
  without_kinds = {k: v for k, v in _OLMO3_7B.items() if k != "layer_types"}
  assert huggingface.model_config(without_kinds) == found


def test_the_new_spelling_of_rope_means_the_same():
  block = _LLAMA_3P1_8B["rope_scaling"] | {"rope_theta": 500_000.0}
  new = _LLAMA_3P1_8B | {"rope_parameters": block}
  del new["rope_scaling"], new["rope_theta"]
  assert huggingface.model_config(new) == huggingface.model_config(
    _LLAMA_3P1_8B
  )
  plain = {"rope_type": "default", "rope_theta": 500_000}
  by_layer = {
    "sliding_attention": plain,
    "full_attention": plain | _OLMO3_7B["rope_scaling"],
  }
  new = _OLMO3_7B | {"rope_parameters": by_layer}
  del new["rope_scaling"], new["rope_theta"]
  assert huggingface.model_config(new) == huggingface.model_config(_OLMO3_7B)


def test_windows_of_qwen_begin_where_the_file_says():
  sliding = huggingface.model_config(
    _QWEN2P5_MATH | {"use_sliding_window": True}
  )
  assert sliding.sliding_layers == tuple(range(21, 28))
  assert huggingface.model_config(_QWEN2P5_MATH).sliding_layers == ()


@pytest.mark.parametrize(
  "change, message",
  [
    ({"model_type": "mamba"}, "model_type is 'mamba', and only llama, qwen2"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu', and only 'silu'"),
    ({"mlp_bias": True}, "mlp_bias is True"),
    ({"hidden_size": None}, "hidden_size is missing"),
    (
      {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
      "rope_type is 'dynamic'",
    ),
    ({"rope_scaling": {"type": "yarn"}}, "has no factor"),
    (
      {"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 1.0}},
      "has mscale or no truncation",
    ),
  ],
)
def test_what_is_not_known_is_refused(change, message):
  with pytest.raises(errors.UserError, match="^dir/config.json: ") as caught:
    huggingface.model_config(_LLAMA_3P1_8B | change, "dir/config.json")
  assert message in str(caught.value)


@pytest.mark.parametrize(
  "published", [_QWEN2P5_MATH, _QWEN3_4B, _LLAMA_3P1_8B, _OLMO3_7B]
)
def test_a_shape_written_anew_reads_the_same(published):
  shape = huggingface.model_config(published)
  written = json.loads(json.dumps(huggingface.config_json(shape)))
  assert written["model_type"] == published["model_type"]
  assert huggingface.model_config(written) == shape


def test_a_shape_of_no_family_is_refused():
  mixed = testing.tiny_config(post_norm=True)
  with pytest.raises(errors.UserError, match="no Hugging Face form"):
    huggingface.config_json(mixed)


def test_every_tensor_of_a_tied_model_has_a_place():
  config = dataclasses.replace(testing.tiny_config(), tied_embeddings=True)
  places = huggingface.tensors(config)
  assert "lm_head.weight" not in places
  assert huggingface.is_ignored("lm_head.weight", config)
  assert places["model.layers.1.self_attn.q_proj.weight"] == (
    ("attention", "query", "kernel"),
    1,
    True,
  )
  assert len(places) == 2 + 2 * 11
