"""Shapes of published models, by their number of parameters."""

import jax
import pytest

from experiments import common
from rlvr_jax import errors
from rlvr_jax.models import configs
from rlvr_jax.models import transformer

# Of the weights on Hugging Face; tied embeddings count once.
_PUBLISHED = {
  "llama_7b": 6_738_415_616,
  "deepseek_math_7b": 6_910_365_696,
  "qwen2p5_math_1p5b": 1_543_714_304,
  "deepcoder_1p5b": 1_777_088_000,
  "qwen2p5_math_7b": 7_615_616_512,
  "qwen2p5_7b": 7_615_616_512,
  "qwen2p5_32b": 32_763_876_352,
  "qwen3_4b": 4_022_468_096,
  "qwen3_4b_base": 4_022_468_096,
  "qwen3_4b_instruct": 4_022_468_096,
  "qwen3_8b": 8_190_735_360,
  "qwen3_8b_base": 8_190_735_360,
  "qwen3_14b": 14_768_307_200,
  "qwen3_32b": 32_762_123_264,
}
_QWEN3_0_6B = dict(
  vocab_size=151_936,
  num_layers=28,
  width=1024,
  num_heads=16,
  num_kv_heads=8,
  head_dim=128,
  mlp_width=3072,
  tied_embeddings=True,
)


def _num_parameters(shape) -> int:
  config = configs.ModelConfig(**shape, scan_layers=True)
  params = jax.eval_shape(
    lambda: transformer.init_params(config, jax.random.key(0))
  )
  return sum(x.size for x in jax.tree.leaves(params))


def test_every_model_has_a_published_number():
  assert _PUBLISHED.keys() == common.MODELS.keys()


@pytest.mark.parametrize("name", common.MODELS)
def test_the_shape_has_the_published_number_of_parameters(name):
  assert _num_parameters(common.MODELS[name]) == _PUBLISHED[name]


def test_the_shape_of_qwen3_0_6b_has_its_number_of_parameters():
  assert _num_parameters(_QWEN3_0_6B) == 596_049_920


def test_another_attention_is_refused():
  assert configs.ModelConfig(**_QWEN3_0_6B, attention="xla").attention == "xla"
  with pytest.raises(errors.UserError, match="model.attention is 'flash'"):
    configs.ModelConfig(**_QWEN3_0_6B, attention="flash")
