"""JAX's attention kernels, behind our one function, equal the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.kernels import attention as package
from rlvr_jax.kernels.attention import cudnn
from rlvr_jax.kernels.attention import reference
from rlvr_jax.kernels.attention import splash

_splash = functools.partial(splash.attention, interpret=True)


def _inputs(rows, heads, kv_heads, queries, keys, head_dim, dtype="float32"):
  """Random arrays; the first tokens of every other row are pads."""
  normal = lambda i, *shape: jax.random.normal(jax.random.key(i), shape, dtype)
  lengths = keys - (jnp.arange(rows) % 2) * (keys // 3)
  is_real = jnp.arange(keys)[None] >= keys - lengths[:, None]
  return (
    normal(0, rows, heads, queries, head_dim),
    normal(1, rows, kv_heads, keys, head_dim),
    normal(2, rows, kv_heads, keys, head_dim),
    is_real,
  )


def _values_and_gradients(function, inputs, window):
  """Values and gradients where the queries are real; the rest counts 0."""
  queries, keys, values, is_real = inputs
  counts = is_real[:, None, -queries.shape[2] :, None]
  weights = jnp.sin(jnp.arange(queries.size, dtype=jnp.float32))

  def total(queries, keys, values):
    mixed = function(queries, keys, values, is_real, window)
    assert mixed.dtype == queries.dtype
    mixed = jnp.where(counts, mixed.astype(jnp.float32), 0.0)
    return jnp.sum(weights.reshape(mixed.shape) * mixed), mixed

  (_, mixed), grads = jax.jit(
    jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)
  )(queries, keys, values)
  return mixed, grads


def _plain(queries, keys, values, is_real, window):
  """Textbook attention, one query at a time."""
  exact = lambda x: np.asarray(x, np.float64)
  queries, keys, values = map(exact, (queries, keys, values))
  out = np.zeros(queries.shape)
  offset = keys.shape[2] - queries.shape[2]
  repeats = queries.shape[1] // keys.shape[1]
  for b, n, t in np.ndindex(queries.shape[:3]):
    first = max(0, offset + t + 1 - window) if window else 0
    places = np.arange(first, offset + t + 1)
    places = places[np.asarray(is_real)[b, places]]
    if places.size:
      k, v = keys[b, n // repeats, places], values[b, n // repeats, places]
      weights = np.exp(k @ queries[b, n, t] / queries.shape[3] ** 0.5)
      out[b, n, t] = weights @ v / weights.sum()
  return out


@pytest.mark.parametrize("window", [0, 1, 4])
@pytest.mark.parametrize("queries", [9, 5, 1])
def test_the_reference_is_what_it_says(queries, window):
  inputs = _inputs(2, 4, 2, queries, 9, 8)
  found, _ = _values_and_gradients(reference.attention, inputs, window)
  expected = _plain(*inputs, window)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# Prompts, with pads in front.
_PROMPTS = (2, 2, 2, 130, 130, 64)
# Completions behind a prompt; lengths are no whole tiles.
_COMPLETIONS = (2, 4, 2, 140, 203, 64)
# Whole tiles, several blocks.
_BLOCKS = (1, 2, 1, 256, 640, 128)


@pytest.mark.parametrize(
  ("shape", "window"),
  [
    (_COMPLETIONS, 37),
    pytest.param(_PROMPTS, 0, marks=pytest.mark.slow),
    pytest.param(_PROMPTS, 37, marks=pytest.mark.slow),
    pytest.param(_COMPLETIONS, 0, marks=pytest.mark.slow),
    pytest.param(_BLOCKS, 0, marks=pytest.mark.slow),
    pytest.param(_BLOCKS, 37, marks=pytest.mark.slow),
  ],
)
def test_splash_equals_the_reference(shape, window):
  inputs = _inputs(*shape)
  found = _values_and_gradients(_splash, inputs, window)
  expected = _values_and_gradients(reference.attention, inputs, window)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5),
    found,
    expected,
  )


@pytest.mark.slow
def test_splash_in_low_precision():
  inputs = _inputs(2, 2, 1, 128, 192, 64, "bfloat16")
  found, _ = _values_and_gradients(_splash, inputs, 0)
  expected, _ = _values_and_gradients(reference.attention, inputs, 0)
  np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02)


def test_a_row_without_any_real_token_leaves_no_nan():
  queries, keys, values, is_real = _inputs(2, 2, 2, 130, 140, 64)
  inputs = (queries, keys, values, is_real.at[0].set(False))
  found = _values_and_gradients(_splash, inputs, 5)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


@pytest.mark.parametrize(
  ("backend", "devices", "queries", "dtype", "expected"),
  [
    ("tpu", 1, 512, "bfloat16", "splash"),
    ("tpu", 1, 512, "float32", "splash"),
    ("tpu", 1, 64, "bfloat16", None),
    ("tpu", 4, 512, "bfloat16", None),
    ("gpu", 1, 512, "bfloat16", "cudnn"),
    ("gpu", 1, 512, "float32", None),
    ("cpu", 1, 512, "bfloat16", None),
  ],
)
def test_kernels_are_named_where_they_suit(
  monkeypatch, backend, devices, queries, dtype, expected
):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  monkeypatch.setattr(jax, "device_count", lambda: devices)
  inputs = _inputs(1, 2, 1, queries, 600, 64, dtype)
  assert package.suitable(*inputs[:2]) == expected


def test_what_this_backend_lacks_is_refused():
  with pytest.raises(ValueError, match="'splash', and this backend, cpu, has"):
    package.causal_attention(
      *_inputs(1, 2, 1, 4, 4, 8), implementation="splash"
    )


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("queries", [9, 5, 2])
def test_cudnn_is_given_the_same_attention(monkeypatch, queries, window):
  """The kernel itself needs a GPU: XLA stands in for it."""
  plain, given = jax.nn.dot_product_attention, []

  def stand_in(*arrays, implementation, **settings):
    assert implementation == "cudnn"
    given.append((*(x.shape[1] for x in arrays), "mask" in settings))
    return plain(*arrays, **settings, implementation="xla")

  monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
  inputs = _inputs(2, 4, 2, queries, 9, 8)
  found = _values_and_gradients(cudnn.attention, inputs, window)
  expected = _values_and_gradients(reference.attention, inputs, window)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    found,
    expected,
  )
  # Even numbers; a mask of T x S where most queries would be for nothing.
  few = (2, 10, 10, True)
  assert given == [few if queries == 2 else (10, 10, 10, False)]


def test_cudnn_is_given_real_tokens_first_wherever_they_are(monkeypatch):
  plain = jax.nn.dot_product_attention
  stand_in = lambda *x, implementation, **settings: plain(*x, **settings)
  monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
  *arrays, _ = _inputs(2, 4, 2, 9, 9, 8)
  is_real = jnp.array([[1, 0, 1, 1, 0, 0, 1, 1, 0], [0] * 9], bool)
  found, grads = _values_and_gradients(cudnn.attention, (*arrays, is_real), 0)
  expected = _plain(*arrays, is_real, 0)
  real = np.asarray(is_real)[:, None, :, None]
  np.testing.assert_allclose(
    found, np.where(real, expected, 0.0), rtol=1e-5, atol=1e-6
  )
  assert all(np.isfinite(x).all() for x in grads)
