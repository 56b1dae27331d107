"""Planning tokens: a bonus of a share of the advantage's size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import token_weights


def _hicra(advantages, planning, transform=lambda f: f, **settings):
  advantages = jnp.asarray([advantages], jnp.float32)
  method = functools.partial(token_weights.hicra_weights, **settings)
  shape = transform(method)(
    token_advantages=advantages,
    planning_tokens=jnp.asarray([planning], jnp.float32),
  )
  return (advantages * shape.weight + shape.bonus)[0]


@pytest.mark.parametrize("transform", [jax.jit, lambda function: function])
def test_a_fifth_of_the_size_is_added_on_planning_tokens(transform):
  # 1 + 0.2 * 1 and -1 + 0.2 * 1; the other tokens stay.
  found = _hicra([1.0, -1.0, 1.0, -1.0], [1, 1, 0, 0], transform)
  np.testing.assert_allclose(found, [1.2, -0.8, 1.0, -1.0], rtol=1e-6)


def test_amplification():
  found = _hicra([2.0, -4.0], [1, 1], amplification=0.5)
  np.testing.assert_array_equal(found, [3.0, -2.0])


def test_an_advantage_of_zero_stays_exactly_zero():
  np.testing.assert_array_equal(_hicra([0.0, 0.0], [1, 0]), [0.0, 0.0])
