"""Clipped surrogates: values, gradients, where neighbours differ."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import losses
from tests import marks


def _row(values):
  return jnp.atleast_2d(jnp.asarray(values, jnp.float32))


def _call(method, log_ratio, advantage, transform=lambda f: f, **settings):
  """Losses of one row whose old log-probabilities are all -2."""
  arrays = {k: settings.pop(k) for k in ("completion_mask",) if k in settings}
  log_ratio = _row(log_ratio)
  return transform(functools.partial(method, **settings))(
    logprobs=log_ratio - 2.0,
    old_logprobs=jnp.full_like(log_ratio, -2.0),
    token_advantages=_row(advantage),
    **arrays,
  )[0]


_ppo = functools.partial(_call, losses.ppo_clip)
_cispo = functools.partial(_call, losses.cispo)


def _gspo(log_ratio, advantage, mask=None, **settings):
  mask = jnp.ones_like(_row(log_ratio)) if mask is None else _row(mask)
  return _call(
    losses.gspo, log_ratio, advantage, completion_mask=mask, **settings
  )


def _gradient(method, log_ratio, *arguments, **settings):
  total = lambda x: jnp.sum(method(x, *arguments, **settings))
  return jax.grad(total)(jnp.asarray(log_ratio, jnp.float32))


@marks.with_and_without_jit
def test_values_inside_and_outside_the_clip(transform):
  # Ratios 1.1, 1.5, 0.5 with A = 2: -min(r A, clip(r) A).
  log_ratios = np.log([1.1, 1.5, 0.5])
  np.testing.assert_allclose(
    _ppo(log_ratios, [2.0] * 3, transform), [-2.2, -2.4, -1.0], rtol=1e-5
  )
  # With A = -2 the larger loss wins: 2.2, 3.0, 1.6.
  np.testing.assert_allclose(
    _ppo(log_ratios, [-2.0] * 3, transform), [2.2, 3.0, 1.6], rtol=1e-5
  )


def test_unequal_widths():
  # DAPO's 0.28 lets a ratio of 1.25 through, 0.2 does not.
  log_ratio = np.log([1.25])
  np.testing.assert_allclose(_ppo(log_ratio, [1.0]), [-1.2], rtol=1e-5)
  np.testing.assert_allclose(
    _ppo(log_ratio, [1.0], clip_high=0.28), [-1.25], rtol=1e-5
  )
  # The lower width binds where A < 0: -0.7 * -1 and -0.8 * -1.
  log_ratio = np.log([0.6])
  np.testing.assert_allclose(
    _ppo(log_ratio, [-1.0], clip_low=0.3), [0.7], rtol=1e-5
  )
  np.testing.assert_allclose(_ppo(log_ratio, [-1.0]), [0.8], rtol=1e-5)


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
  gradient = _gradient(_ppo, np.log([1.5, 0.5, 0.5]), [1.0, -1.0, 1.0])
  # Outside in the direction of the advantage: none; against it: -A * ratio.
  np.testing.assert_allclose(gradient, [0.0, 0.0, -0.5], rtol=1e-5)
  np.testing.assert_array_equal(gradient[:2], [0.0, 0.0])


@marks.with_and_without_jit
def test_the_dual_clip_bounds_negative_advantages_alone(transform):
  # Ratio 4: without it -4 * -1 = 4, with it at most 3. A = 1 is clipped to
  # 1.2 either way, and ratio 2 lies below the bound.
  log_ratios, signs = np.log([4.0, 4.0, 2.0]), [-1.0, 1.0, -1.0]
  np.testing.assert_allclose(
    _ppo(log_ratios, signs, transform), [4.0, -1.2, 2.0], rtol=1e-5
  )
  np.testing.assert_allclose(
    _ppo(log_ratios, signs, transform, dual_clip=3.0),
    [3.0, -1.2, 2.0],
    rtol=1e-5,
  )


def test_the_dual_clip_takes_the_gradient_where_it_binds():
  gradient = functools.partial(
    _gradient, _ppo, np.log([4.0, 2.0]), [-1.0, -1.0]
  )
  np.testing.assert_allclose(gradient(), [4.0, 2.0], rtol=1e-5)
  bounded = gradient(dual_clip=3.0)
  assert bounded[0] == 0.0
  np.testing.assert_allclose(bounded[1], 2.0, rtol=1e-5)


@marks.with_and_without_jit
def test_one_ratio_for_the_response_differs_from_one_per_token(transform):
  # Ratios 2 and 1/2 have a mean log of 0: GSPO clips nothing and gives both
  # tokens -A. PPO clips the first to 1.2 and leaves the second at 0.5.
  log_ratios = np.log([2.0, 0.5])
  np.testing.assert_allclose(
    _gspo(log_ratios, [1.0, 1.0], transform=transform), [-1.0, -1.0], rtol=1e-6
  )
  np.testing.assert_allclose(
    _ppo(log_ratios, [1.0, 1.0], transform), [-1.2, -0.5], rtol=1e-5
  )
  np.testing.assert_allclose(
    _gradient(_gspo, log_ratios, [1.0, 1.0]), [-1.0, -1.0], rtol=1e-6
  )
  np.testing.assert_allclose(
    _gradient(_ppo, log_ratios, [1.0, 1.0]), [0.0, -0.5], rtol=1e-5
  )


def test_gspo_clips_the_whole_response():
  # Ratios 2 and 1 have a mean log of ln(2) / 2: ratio sqrt(2) > 1.2.
  log_ratios = np.log([2.0, 1.0])
  settings = dict(clip_low=0.2, clip_high=0.2)
  np.testing.assert_allclose(
    _gspo(log_ratios, [1.0, 1.0], **settings), [-1.2, -1.2], rtol=1e-6
  )
  np.testing.assert_array_equal(
    _gradient(_gspo, log_ratios, [1.0, 1.0], **settings), [0.0, 0.0]
  )
  # Against a negative advantage the clip does not bind: sqrt(2).
  np.testing.assert_allclose(
    _gspo(log_ratios, [-1.0, -1.0], **settings), [2**0.5] * 2, rtol=1e-6
  )


def test_the_gradient_of_gspo_is_that_of_the_ratio_of_the_response():
  # Eq. 5: -A * exp(mean(log_ratio)), differentiated as it stands.
  log_ratio = jnp.asarray([0.1, -0.3, 0.05])
  direct = jax.grad(lambda x: -1.5 * jnp.exp(jnp.mean(x)))(log_ratio)
  mean = lambda x: jnp.mean(_gspo(x, [1.5] * 3, clip_low=0.9, clip_high=9.0))
  np.testing.assert_allclose(jax.grad(mean)(log_ratio), direct, rtol=1e-6)


def test_the_gradient_of_each_token_follows_its_own_advantage():
  # GSPO-token, eq. 13: at ratio 1 the gradient is -A of the token. A ratio
  # differentiated as a whole would give both tokens the mean, -1/2.
  np.testing.assert_allclose(
    _gradient(_gspo, [0.0, 0.0], [1.0, 0.0]), [-1.0, 0.0], atol=1e-7
  )


def test_padding_is_inert_in_the_ratio_of_the_response():
  mask = [1.0, 1.0, 0.0]
  widths = dict(clip_low=0.9, clip_high=9.0)
  kept = lambda x: jnp.where(jnp.asarray(mask) > 0, x, 0.0)
  value = lambda x: jnp.sum(kept(_gspo(x, [1.0] * 3, mask, **widths)))
  found, gradient = jax.jit(jax.value_and_grad(value))(
    jnp.asarray([0.1, 0.3, jnp.nan])
  )
  # Mean log-ratio 0.2 over the two real tokens.
  np.testing.assert_allclose(found, -2.0 * np.exp(0.2), rtol=1e-6)
  np.testing.assert_allclose(gradient[:2], [-np.exp(0.2)] * 2, rtol=1e-6)
  assert gradient[2] == 0.0


def test_gspo_of_a_fully_masked_row_is_finite():
  found = jax.jit(lambda x: _gspo(x, [1.0, 1.0], [0.0, 0.0]))(
    jnp.full(2, jnp.nan)
  )
  np.testing.assert_array_equal(found, [-1.0, -1.0])


@marks.with_and_without_jit
def test_cispo_bounds_the_weight_and_keeps_the_gradient(transform):
  # Ratio 1.5 above 1.28: weight 1.28. Log-probability ln(1.5) - 2.
  log_ratio = np.log([1.5])
  np.testing.assert_allclose(
    _cispo(log_ratio, [1.0], transform), [-1.28 * (np.log(1.5) - 2)], rtol=1e-5
  )
  np.testing.assert_allclose(
    _gradient(_cispo, log_ratio, [1.0]), [-1.28], rtol=1e-6
  )
  # PPO has lost the token there.
  np.testing.assert_array_equal(
    _gradient(_ppo, log_ratio, [1.0], clip_high=0.28), [0.0]
  )


def test_cispo_has_no_lower_bound_unless_asked():
  log_ratio = np.log([0.5])
  np.testing.assert_allclose(
    _gradient(_cispo, log_ratio, [1.0]), [-0.5], rtol=1e-6
  )
  np.testing.assert_allclose(
    _gradient(_cispo, log_ratio, [1.0], clip_low=0.2), [-0.8], rtol=1e-6
  )


def test_the_weight_of_cispo_is_a_constant():
  # Inside the clip a ratio that carried gradient would give
  # -A * ratio * (1 + logprob) = -1.1 * (1 + ln(1.1) - 2) instead of -1.1.
  np.testing.assert_allclose(
    _gradient(_cispo, np.log([1.1]), [1.0]), [-1.1], rtol=1e-6
  )
