"""The decoder: size, cached decoding, shared prompts, scanned layers."""

import re

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.models import configs
from rlvr_jax.models import transformer
from tests import testing


def test_the_recipe_has_102784_parameters():
  config = configs.ModelConfig(
    vocab_size=32,
    num_layers=2,
    width=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    mlp_width=192,
  )
  shapes = jax.eval_shape(
    lambda: transformer.init_params(config, jax.random.key(0))
  )
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 102_784


def test_the_shape_of_qwen3_0_6b_has_its_number_of_parameters():
  config = configs.ModelConfig(
    vocab_size=151_936,
    num_layers=28,
    width=1024,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    mlp_width=3072,
    tied_embeddings=True,
    scan_layers=True,
  )
  shapes = jax.eval_shape(
    lambda: transformer.init_params(config, jax.random.key(0))
  )
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 596_049_920


@pytest.mark.parametrize("scan_layers", [False, True])
def test_cached_decoding_equals_the_full_forward_pass(scan_layers):
  model, params = testing.tiny_model(scan_layers=scan_layers)
  tokens = jax.random.randint(jax.random.key(1), (3, 7), 0, 11)
  hidden = testing.hidden_states(model, params, tokens)
  cache = transformer.empty_cache(model.config, 3, 7)

  @jax.jit
  def decode(cache, t):
    return model.apply(
      {"params": params},
      jax.lax.dynamic_slice(tokens, (0, t), (3, 1)),
      jnp.full((3, 1), t),
      (jnp.arange(7) <= t)[None, None],
      cache=cache,
      index=t,
    )

  for t in range(7):
    step, cache = decode(cache, t)
    np.testing.assert_allclose(step[:, 0], hidden[:, t], atol=1e-5)


def test_scanned_layers_equal_unrolled_ones():
  unrolled, params = testing.tiny_model()
  scanned = transformer.Transformer(testing.tiny_config(scan_layers=True))
  layers = [params[f"layers_{i}"] for i in range(2)]
  stacked = {k: v for k, v in params.items() if not k.startswith("layers_")}
  stacked["layers"] = jax.tree.map(lambda *x: jnp.stack(x), *layers)
  tokens = jax.random.randint(jax.random.key(1), (2, 5), 0, 11)
  np.testing.assert_allclose(
    testing.hidden_states(unrolled, params, tokens),
    testing.hidden_states(scanned, stacked, tokens),
    atol=1e-5,
  )


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
@pytest.mark.parametrize("scan_layers", [False, True])
def test_recomputation_changes_no_gradient(remat, scan_layers):
  tokens = jax.random.randint(jax.random.key(1), (2, 5), 0, 11)

  def gradient(remat):
    model, params = testing.tiny_model(remat=remat, scan_layers=scan_layers)
    loss = lambda params: jnp.sum(
      jnp.sin(testing.hidden_states(model, params, tokens))
    )
    return jax.jit(jax.grad(loss))(params)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    gradient(remat),
    gradient("none"),
  )


def test_tied_embeddings_share_one_matrix():
  model, params = testing.tiny_model(tied_embeddings=True)
  assert "lm_head" not in params
  np.testing.assert_array_equal(
    model.apply({"params": params}, method="unembedding"),
    params["embedding"].T,
  )


def test_large_vocabularies_look_up_the_same_rows():
  # Past 256 entries the embedding is a gather, below a one-hot product.
  small, params = testing.tiny_model(vocab_size=256)
  large = transformer.Transformer(testing.tiny_config(vocab_size=257))
  wider = params | {
    "embedding": jnp.pad(params["embedding"], ((0, 1), (0, 0))),
    "lm_head": jnp.pad(params["lm_head"], ((0, 0), (0, 1))),
  }
  tokens = jax.random.randint(jax.random.key(1), (2, 5), 0, 256)
  np.testing.assert_allclose(
    testing.hidden_states(small, params, tokens),
    testing.hidden_states(large, wider, tokens),
    atol=1e-6,
  )


def test_bfloat16_keeps_float32_parameters():
  model, params = testing.tiny_model(dtype="bfloat16")
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  hidden = testing.hidden_states(model, params, jnp.zeros((1, 3), jnp.int32))
  assert hidden.dtype == jnp.bfloat16


def test_every_parameter_names_its_axes():
  from rlvr_jax import sharding

  boxed = transformer.init_params(testing.tiny_config(), jax.random.key(0))
  known = {name for name, _ in sharding.RULES}
  leaves = jax.tree.leaves(
    boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
  )
  for leaf in leaves:
    assert isinstance(leaf, nn.LogicallyPartitioned)
    assert set(leaf.names) <= known
    assert len(leaf.names) == leaf.value.ndim


def test_the_docstring_example_is_true():
  count = re.search(r"has ([\d,]+) parameters", configs.ModelConfig.__doc__)[1]
  assert count == "102,784"
