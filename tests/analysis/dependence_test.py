"""The kernel score by hand, and against its definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.analysis import dependence


def _score(x, y, **options):
  vector = lambda v: jnp.asarray(v, jnp.float32)
  return float(dependence.score(vector(x), vector(y), **options))


def _definition(x, y, sigma=50.0, ridge=1e-5):
  """K H (K H + ridge * D * I)^-1 of both, and the trace of the product."""
  size = len(x)

  def shrunk(v):
    v = np.asarray(v, np.float64)
    kernel = np.exp(-np.square(v[:, None] - v[None]) / (2 * sigma**2))
    centred = kernel @ (np.eye(size) - 1 / size)
    return centred @ np.linalg.inv(centred + ridge * size * np.eye(size))

  return np.sum(shrunk(x) * shrunk(y).T)


def test_values_by_hand():
  # Two coordinates: one eigenvalue 1 - k, shrunk to r; the score is r ** 2.
  gap = -np.expm1(-0.5)
  np.testing.assert_allclose(gap, 0.393469, atol=1e-6)
  np.testing.assert_allclose(gap / (gap + 2e-5), 0.999949, atol=1e-6)
  np.testing.assert_allclose(_score([0, 50], [0, 50]), 0.999898, atol=2e-6)
  gap = -np.expm1(-1 / 5000)
  np.testing.assert_allclose(gap / (gap + 2e-5), 0.909083, atol=1e-6)
  np.testing.assert_allclose(_score([0, 1], [0, 1]), 0.826431, atol=2e-6)


def test_a_constant_vector_depends_on_nothing():
  other = np.random.default_rng(0).normal(size=7)
  assert _score(np.full(7, 3.3), other) == 0.0
  assert _score(other, np.full(7, 3.3)) == 0.0
  assert _score(np.zeros(7), np.zeros(7)) == 0.0


def test_it_is_its_definition():
  rng = np.random.default_rng(0)
  for size, scale in ((2, 1.0), (5, 10.0), (16, 3.0), (33, 100.0)):
    x, y = scale * rng.normal(size=(2, size))
    found = _score(x, y)
    np.testing.assert_allclose(found, _definition(x, y), rtol=2e-3, atol=1e-4)
    assert 0.0 <= found < size - 1


def test_swapping_and_permuting_both_change_nothing():
  rng = np.random.default_rng(1)
  x, y = 20 * rng.normal(size=(2, 12))
  expected = _score(x, y)
  np.testing.assert_allclose(_score(y, x), expected, rtol=1e-5)
  order = rng.permutation(12)
  np.testing.assert_allclose(_score(x[order], y[order]), expected, rtol=1e-3)
  # A constant on either side does not count.
  np.testing.assert_allclose(_score(x + 5, y - 3), expected, rtol=1e-3)


def test_a_trace_is_its_scores():
  rng = np.random.default_rng(2)
  hidden = jnp.asarray(30 * rng.normal(size=(4, 6)), jnp.float32)
  goal = jnp.asarray(30 * rng.normal(size=6), jnp.float32)
  found = jax.jit(dependence.trace)(hidden, goal)
  assert found.shape == (4,)
  np.testing.assert_allclose(
    found, [_score(h, goal) for h in hidden], rtol=1e-4
  )
  assert dependence.trace(hidden[:0], goal).shape == (0,)


def test_half_precision_stays_finite():
  # The square of 300 is beyond float16.
  hidden = jnp.asarray([[0.0, 300.0, -300.0, 1.0]], jnp.float16)
  found = dependence.trace(hidden, hidden[0])
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(
    found[0], _definition(*2 * [np.asarray(hidden[0])]), rtol=1e-3
  )
