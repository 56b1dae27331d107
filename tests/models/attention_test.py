"""Attention over a shared prefix equals plain attention over all keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.models import attention

_attend = jax.jit(attention.attend)


def _normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def _plain(queries, keys, values, mask):
  """Textbook attention, one row and head at a time; keys are [B, K, H, S]."""
  rows, positions, num_heads, head_dim = queries.shape
  repeats = num_heads // keys.shape[1]
  out = np.zeros(queries.shape)
  for b in range(rows):
    for n in range(num_heads):
      k, v = (
        np.asarray(keys[b, n // repeats]),
        np.asarray(values[b, n // repeats]),
      )
      for t in range(positions):
        scores = np.asarray(queries[b, t, n]) @ k / head_dim**0.5
        weights = np.where(mask[b, t], np.exp(scores - scores.max()), 0.0)
        out[b, t, n] = weights @ v / weights.sum()
  return out


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_own_keys_alone(kv_heads):
  queries = _normal(0, 3, 5, 4, 6)
  own = attention.KeyValues(
    _normal(1, 3, kv_heads, 6, 5), _normal(2, 3, kv_heads, 5, 6)
  )
  mask = jnp.tril(jnp.ones((5, 5), bool))[None]
  np.testing.assert_allclose(
    _attend(queries, own, mask),
    _plain(queries, own.keys, own.values, np.tile(mask, (3, 1, 1))),
    rtol=1e-5,
    atol=1e-6,
  )


def test_prefix_and_own_keys_equal_their_concatenation():
  prompts, samples, positions, prefix_len = 2, 3, 4, 5
  rows = prompts * samples
  queries = _normal(0, rows, positions, 4, 6)
  own = attention.KeyValues(
    _normal(1, rows, 2, 6, positions), _normal(2, rows, 2, positions, 6)
  )
  prefix = attention.KeyValues(
    _normal(3, prompts, 2, 6, prefix_len), _normal(4, prompts, 2, prefix_len, 6)
  )
  prefix_mask = jnp.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], bool)
  causal = jnp.tril(jnp.ones((positions, positions), bool))[None]
  ours = _attend(queries, own, causal, prefix, prefix_mask)
  repeat = lambda x: jnp.repeat(x, samples, axis=0)
  seen = jnp.broadcast_to(
    repeat(prefix_mask)[:, None], (rows, positions, prefix_len)
  )
  plain = _plain(
    queries,
    jnp.concatenate([repeat(prefix.keys), own.keys], axis=3),
    jnp.concatenate([repeat(prefix.values), own.values], axis=2),
    np.concatenate([seen, jnp.tile(causal, (rows, 1, 1))], axis=2),
  )
  np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)


def test_what_lies_under_a_mask_is_never_seen():
  queries = _normal(0, 2, 3, 2, 4)
  mask = jnp.tril(jnp.ones((3, 3), bool))[None]
  prefix_mask = jnp.array([[0, 1], [1, 1]], bool)

  def run(junk):
    own = attention.KeyValues(
      _normal(1, 2, 1, 4, 3).at[:, :, :, 2].add(junk),
      _normal(2, 2, 1, 3, 4).at[:, :, 2].add(junk),
    )
    prefix = attention.KeyValues(
      _normal(3, 2, 1, 4, 2).at[0, :, :, 0].add(junk),
      _normal(4, 2, 1, 2, 4).at[0, :, 0].add(junk),
    )
    return _attend(queries, own, mask, prefix, prefix_mask)[:, :2]

  np.testing.assert_array_equal(run(0.0), run(1e3))


def test_rotation_keeps_products_of_equal_distance():
  heads = _normal(0, 1, 1, 1, 8)
  other = _normal(1, 1, 1, 1, 8)

  def product(first, second):
    at = lambda x, p: attention.rotate(
      x, attention.rotary_angles(jnp.array([[p]]), 8, 100.0)
    )
    return jnp.sum(at(heads, first) * at(other, second))

  np.testing.assert_allclose(product(3, 1), product(12, 10), rtol=1e-5)
  assert abs(product(3, 1) - product(3, 2)) > 1e-3


def test_position_zero_is_not_rotated():
  heads = _normal(0, 1, 1, 2, 6)
  angles = attention.rotary_angles(jnp.zeros((1, 1), jnp.int32), 6, 100.0)
  np.testing.assert_array_equal(attention.rotate(heads, angles), heads)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rotation_by_a_product_equals_that_by_halves(dtype):
  heads = _normal(0, 2, 5, 3, 8).astype(dtype)
  places = jnp.arange(10).reshape(2, 5) * 100
  angles = attention.rotary_angles(places, 8, 100.0)
  np.testing.assert_allclose(
    attention._rotated_by_product(heads, *angles).astype(jnp.float32),
    attention._rotated_by_halves(heads, *angles).astype(jnp.float32),
    atol=1e-6,
  )


def test_the_gradient_of_a_rotation_is_the_rotation_back():
  heads, upstream = _normal(0, 2, 5, 3, 8), _normal(1, 2, 5, 3, 8)
  angles = attention.rotary_angles(jnp.arange(10).reshape(2, 5), 8, 100.0)
  gradient = lambda rotate: jax.vjp(lambda x: rotate(x), heads)[1](upstream)[0]
  ours = gradient(lambda x: attention.rotate(x, angles))
  for plain in (attention._rotated_by_halves, attention._rotated_by_product):
    expected = gradient(lambda x, plain=plain: plain(x, *angles))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("width", [1, 16, 64])
def test_what_is_computed_once_keeps_every_bit(width):
  angles = 1e4 * _normal(3, 2, 7, width)
  for values in (jnp.cos(angles), jnp.sin(angles) * 1e-30):
    np.testing.assert_array_equal(jax.jit(attention._once)(values), values)
