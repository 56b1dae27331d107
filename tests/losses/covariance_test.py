"""Losses on chosen tokens: the numbers of the papers' cards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import derived
from rlvr_jax import losses
from tests import marks

_ADVANTAGES = jnp.asarray([[1.0, 1.0, -1.0, -1.0]])
_LOGPROBS = jnp.asarray([[-0.1, -2.3, -0.3, -2.1]])


@marks.with_and_without_jit
def test_kl_cov_penalises_the_token_of_largest_covariance(transform):
  old = _LOGPROBS - 0.1
  chosen = derived.kl_cov_tokens(
    logprobs=_LOGPROBS,
    token_advantages=_ADVANTAGES,
    completion_mask=jnp.ones((1, 4)),
  )
  found = transform(losses.kl_cov)(
    logprobs=_LOGPROBS,
    old_logprobs=old,
    token_advantages=_ADVANTAGES,
    kl_cov_tokens=chosen,
  )
  # Ratio exp(0.1) = 1.10517 everywhere; token 0 pays 1 * |0.1| more.
  np.testing.assert_allclose(
    found, [[-1.00517, -1.10517, 1.10517, 1.10517]], rtol=1e-5
  )


def test_kl_cov_has_no_clip():
  # Ratio e: PPO would stop at 1.2 and take the gradient away.
  arrays = dict(
    old_logprobs=jnp.full((1, 1), -2.0),
    token_advantages=jnp.ones((1, 1)),
    kl_cov_tokens=jnp.zeros((1, 1)),
  )
  total = lambda x: jnp.sum(losses.kl_cov(logprobs=x, **arrays))
  value, gradient = jax.value_and_grad(total)(jnp.full((1, 1), -1.0))
  np.testing.assert_allclose(value, -np.e, rtol=1e-6)
  np.testing.assert_allclose(gradient, [[-np.e]], rtol=1e-6)


def test_the_penalty_pulls_towards_the_old_policy_from_either_side():
  total = lambda x: jnp.sum(
    losses.kl_cov(
      logprobs=x,
      old_logprobs=jnp.full((1, 3), -1.0),
      token_advantages=jnp.zeros((1, 3)),
      kl_cov_tokens=jnp.ones((1, 3)),
      kl_cov_coef=0.25,
    )
  )
  value, gradient = jax.value_and_grad(total)(jnp.asarray([[-0.5, -1.5, -1.0]]))
  # 0.25 * (0.5 + 0.5 + 0); slopes of |x| at 0.5, -0.5 and 0.
  assert value == 0.25
  np.testing.assert_array_equal(gradient, [[0.25, -0.25, 0.0]])


def test_clip_cov_cuts_the_gradient_of_the_drawn_token():
  chosen = derived.clip_cov_tokens(
    logprobs=_LOGPROBS,
    old_logprobs=_LOGPROBS,
    token_advantages=_ADVANTAGES,
    completion_mask=jnp.ones((1, 4)),
    token_uniforms=jnp.asarray([[0.1, 0.9, 0.9, 0.9]]),
  )
  arrays = dict(old_logprobs=_LOGPROBS, token_advantages=_ADVANTAGES)
  total = lambda method, x: jnp.sum(method(logprobs=x, **arrays))
  clip_cov = functools.partial(losses.clip_cov, clip_cov_tokens=chosen)
  cut = jax.jit(jax.grad(functools.partial(total, clip_cov)))(_LOGPROBS)
  # Only token 0 has a covariance in (1, 5), however small its random number.
  np.testing.assert_array_equal(cut, [[0.0, -1.0, 1.0, 1.0]])
  plain = jax.grad(functools.partial(total, losses.ppo_clip))(_LOGPROBS)
  np.testing.assert_array_equal(plain, -_ADVANTAGES)


def test_clip_cov_keeps_the_clip_on_the_others():
  found = losses.clip_cov(
    logprobs=jnp.log(jnp.asarray([[0.9, 0.9]])),
    old_logprobs=jnp.log(jnp.asarray([[0.5, 0.5]])),
    token_advantages=jnp.ones((1, 2)),
    clip_cov_tokens=jnp.asarray([[1.0, 0.0]]),
    clip_high=0.3,
  )
  # Ratio 1.8, clipped to 1.3.
  np.testing.assert_allclose(found, [[0.0, -1.3]], rtol=1e-6)
