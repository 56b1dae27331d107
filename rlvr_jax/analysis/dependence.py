"""A kernel dependence score between hidden states and a goal.

The "mutual information" trace of SIA's figures [code: SIA-code:
mi_peak/mi_estimators.py, after ChnQ/MI-Peaks]. Its limits:
- It is no mutual information over data. The D coordinates of one hidden vector
  serve as D samples of a scalar, so the score says whether coordinates that
  are alike in one vector are alike in the other, for one trace. Permuting the
  coordinates of both changes nothing [ours].
- It has no unit: a sum of products of shrunken eigenvalues, between 0 and
  D - 1.
- It costs O(D^3) a token, one D x D system each and one for the goal: for a
  plot of one trace, whose first 2500 tokens the paper's code takes, not for a
  training loop.
"""

import chex
import jax
from jax import lax
import jax.numpy as jnp


def score(
  x: jax.Array, y: jax.Array, *, sigma: float = 50.0, ridge: float = 1e-5
) -> jax.Array:
  """Normalised cross-covariance of two vectors, f32[].

  tr(R_x R_y),  R = K_c (K_c + ridge * D * I)^-1,  K_c = K (I - 1 1^T / D),
  K_ij = exp(-(x_i - x_j)^2 / (2 sigma^2))

  Computed with both sides of K centred, which makes R symmetric and leaves the
  trace as it is.

  Example: x = y = [0, 50] give 0.999898 and a constant vector gives 0.

  Args:
    x: float[D].
    y: float[D].
    sigma: width of the kernel, in units of the coordinates.
    ridge: added to the eigenvalues, per coordinate.
  """
  chex.assert_rank([x, y], 1)
  chex.assert_equal_shape([x, y])
  return _product(_shrunk(x, sigma, ridge), _shrunk(y, sigma, ridge))


def trace(
  hidden: jax.Array,
  goal: jax.Array,
  *,
  sigma: float = 50.0,
  ridge: float = 1e-5,
) -> jax.Array:
  """`score` of every position of a trace against one goal, f32[T].

  Args:
    hidden: float[T, D], hidden states of the last layer, without pads.
    goal: float[D], that of the gold answer's or solution's last token.
    sigma: width of the kernel, in units of the coordinates.
    ridge: added to the eigenvalues, per coordinate.
  """
  chex.assert_rank([hidden, goal], [2, 1])
  chex.assert_equal(hidden.shape[1], goal.shape[0])
  of_goal = _shrunk(goal, sigma, ridge)
  # One position at a time: T systems of size D x D would not fit.
  return lax.map(lambda h: _product(_shrunk(h, sigma, ridge), of_goal), hidden)


def _shrunk(x: jax.Array, sigma: float, ridge: float) -> jax.Array:
  """R with K centred on both sides, f32[D, D]."""
  # Half precision would square differences out of its range.
  if jnp.finfo(x.dtype).bits < 32:
    x = x.astype(jnp.float32)
  squares = jnp.square(x[:, None] - x[None, :])
  # Centring takes any constant out, and K - 1 keeps the digits that matter
  # where coordinates are close.
  kernel = jnp.expm1(-squares / (2.0 * sigma**2))
  half = kernel - jnp.mean(kernel, axis=1, keepdims=True)
  centred = half - jnp.mean(half, axis=0, keepdims=True)
  lifted = centred + ridge * len(x) * jnp.eye(len(x), dtype=x.dtype)
  # The two commute, so the inverse may stand on either side.
  return jax.scipy.linalg.solve(lifted, centred, assume_a="pos")


def _product(of_x: jax.Array, of_y: jax.Array) -> jax.Array:
  return jnp.sum(of_x * of_y.T)
