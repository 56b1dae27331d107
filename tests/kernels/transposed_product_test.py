"""The gradient product equals its plain form, and sums in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.kernels import transposed_product


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 5), (300, 16, 40)])
def test_it_is_the_product_of_the_transpose(shape):
  rows, left_width, right_width = shape
  left = jax.random.normal(jax.random.key(0), (rows, left_width))
  right = jax.random.normal(jax.random.key(1), (rows, right_width))
  found = jax.jit(transposed_product.transposed_product)(left, right)
  expected = np.asarray(left, np.float64).T @ np.asarray(right, np.float64)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_summed_in_float32():
  # In bfloat16, 256 + 1 is 256.
  ones = jnp.ones((300, 2), jnp.bfloat16)
  found = jax.jit(transposed_product.transposed_product)(ones, ones)
  assert found.dtype == jnp.float32
  np.testing.assert_array_equal(found, np.full((2, 2), 300.0))


def test_it_has_its_own_gradient():
  left = jax.random.normal(jax.random.key(0), (6, 3))
  right = jax.random.normal(jax.random.key(1), (6, 4))
  weights = jax.random.normal(jax.random.key(2), (3, 4))
  total = lambda left, right: jnp.sum(
    weights * transposed_product.transposed_product(left, right)
  )
  d_left, d_right = jax.jit(jax.grad(total, argnums=(0, 1)))(left, right)
  np.testing.assert_allclose(d_left, right @ weights.T, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(d_right, left @ weights, rtol=1e-5, atol=1e-6)
