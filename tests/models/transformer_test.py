"""The decoder: size, cached decoding, shared prompts, scanned layers."""

import re

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import sharding
from rlvr_jax.models import cache as cache_lib
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


# What Qwen2 and Llama differ in from Qwen3, the default.
_QWEN2 = dict(qk_norm="none", attention_bias=True)
_LLAMA = dict(qk_norm="none")


def _with_biases(params):
  """The same parameters with random numbers in place of the zero biases."""
  draw = lambda x: jax.random.normal(jax.random.key(x.size), x.shape)
  return jax.tree_util.tree_map_with_path(
    lambda path, x: draw(x) if path[-1].key == "bias" else x, params
  )


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("kind", [{}, _LLAMA, _QWEN2])
def test_cached_decoding_equals_the_full_forward_pass(kind, scan_layers):
  model, params = testing.tiny_model(scan_layers=scan_layers, **kind)
  params = _with_biases(params)
  tokens = jax.random.randint(jax.random.key(1), (3, 7), 0, 11)
  hidden = testing.hidden_states(model, params, tokens)
  model, params = transformer.unrolled(model, params)
  cache = cache_lib.empty(model.config, 3, 7)

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


@pytest.mark.parametrize("kind", [{}, _QWEN2])
def test_products_are_the_same_on_every_backend(monkeypatch, kind):
  model, params = testing.tiny_model(**kind)
  params = _with_biases(params)
  tokens = jax.random.randint(jax.random.key(1), (3, 7), 0, 11)
  places = jnp.broadcast_to(jnp.arange(7), tokens.shape)
  hidden = lambda p: model.apply({"params": p}, tokens, places)[0]
  both = lambda: jax.vjp(jax.jit(lambda p: hidden(p)), params)
  ours, ours_back = both()
  monkeypatch.setattr(transformer.ops, "platform_of", lambda _: "tpu")
  others, others_back = both()
  np.testing.assert_allclose(ours, others, atol=1e-5)
  upstream = jax.random.normal(jax.random.key(2), ours.shape)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    ours_back(upstream),
    others_back(upstream),
  )


def test_scanned_layers_do_not_decode():
  config = testing.tiny_config(scan_layers=True)
  with pytest.raises(ValueError, match="transformer.unrolled"):
    cache_lib.empty(config, 3, 7)


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


@pytest.mark.parametrize("kind", [{}, _LLAMA, _QWEN2])
def test_every_parameter_names_its_axes(kind):
  config = testing.tiny_config(**kind)
  boxed = transformer.init_params(config, jax.random.key(0))
  known = {name for name, _ in sharding.RULES}
  leaves = jax.tree.leaves(
    boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
  )
  for leaf in leaves:
    assert isinstance(leaf, nn.LogicallyPartitioned)
    assert set(leaf.names) <= known
    assert len(leaf.names) == leaf.value.ndim


def test_the_kinds_differ_in_norms_and_biases_alone():
  def leaves(**kind):
    _, params = testing.tiny_model(**kind)
    paths = jax.tree_util.tree_flatten_with_path(params["layers_0"])[0]
    return {".".join(key.key for key in path) for path, _ in paths}

  norms = {f"attention.{name}_norm.scale" for name in ("query", "key")}
  biases = {f"attention.{name}.bias" for name in ("query", "key", "value")}
  assert leaves() - leaves(**_LLAMA) == norms
  assert leaves(**_LLAMA) < leaves()
  assert leaves(**_QWEN2) - leaves(**_LLAMA) == biases


def test_biases_begin_at_zero_and_are_added():
  linear = transformer.Linear(2, ("embed", "heads"), 0.02, has_bias=True)
  x = jnp.array([[[1.0, 2.0, 3.0]]])
  fresh = nn.unbox(linear.init(jax.random.key(0), x))["params"]
  np.testing.assert_array_equal(fresh["bias"], jnp.zeros(2))
  kernel = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
  params = {"kernel": kernel, "bias": jnp.array([10.0, 20.0])}
  # (1, 2, 3) keeps its first two entries: 1 + 10 and 2 + 20.
  np.testing.assert_array_equal(
    linear.apply({"params": params}, x), [[[11.0, 22.0]]]
  )


def test_the_docstring_example_is_true():
  count = re.search(r"has ([\d,]+) parameters", configs.ModelConfig.__doc__)[1]
  assert count == "102,784"
