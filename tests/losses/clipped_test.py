"""The clipped surrogate: values, gradient, neutral setting."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import losses


def _loss(log_ratio, advantage, **settings):
  as_row = lambda x: jnp.atleast_2d(jnp.asarray(x, jnp.float32))
  log_ratio = as_row(log_ratio)
  return losses.ppo_clip(
    logprobs=log_ratio - 1.0,
    old_logprobs=jnp.full_like(log_ratio, -1.0),
    token_advantages=as_row(advantage),
    **settings,
  )[0]


def test_values_inside_and_outside_the_clip():
  # Ratios 1.1, 1.5, 0.5 with A = 2: -min(r A, clip(r) A).
  log_ratios = np.log([1.1, 1.5, 0.5])
  np.testing.assert_allclose(
    _loss(log_ratios, [2.0] * 3), [-2.2, -2.4, -1.0], rtol=1e-5
  )
  # With A = -2 the larger loss wins: 2.2, 3.0, 1.6.
  np.testing.assert_allclose(
    _loss(log_ratios, [-2.0] * 3), [2.2, 3.0, 1.6], rtol=1e-5
  )


def test_unequal_widths():
  # DAPO's 0.28 lets a ratio of 1.25 through, 0.2 does not.
  log_ratio = np.log([1.25])
  np.testing.assert_allclose(_loss(log_ratio, [1.0]), [-1.2], rtol=1e-5)
  np.testing.assert_allclose(
    _loss(log_ratio, [1.0], clip_high=0.28), [-1.25], rtol=1e-5
  )


def test_neutral_gradient_is_that_of_reinforce():
  advantages = jnp.asarray([[1.0, -2.0, 0.0]])
  logprobs = jnp.asarray([[-0.5, -1.0, -2.0]])
  gradient = jax.grad(
    lambda x: jnp.sum(
      losses.ppo_clip(
        logprobs=x,
        old_logprobs=jax.lax.stop_gradient(x),
        token_advantages=advantages,
        clip_low=0.1,
        clip_high=0.3,
      )
    )
  )(logprobs)
  np.testing.assert_array_equal(gradient, -advantages)


def test_no_gradient_where_the_clip_binds():
  gradient = jax.grad(lambda x: jnp.sum(_loss(x, [1.0, -1.0, 1.0])))(
    jnp.log(jnp.asarray([1.5, 0.5, 0.5]))
  )
  # Outside in the direction of the advantage: none; against it: -A * ratio.
  np.testing.assert_allclose(gradient, [0.0, 0.0, -0.5], rtol=1e-5)
