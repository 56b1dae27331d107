"""Choices by covariance: the papers' numbers, ties, draws, padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import derived
from tests import marks

# Means 0 and -1.2, so cov = A * (logprob + 1.2): (1.1, -1.1, -0.9, 0.9).
_ADVANTAGES = [[1.0, 1.0, -1.0, -1.0]]
_LOGPROBS = [[-0.1, -2.3, -0.3, -2.1]]


def _arrays(logprobs, advantages, mask):
  logprobs = jnp.asarray(logprobs, jnp.float32)
  return dict(
    logprobs=logprobs,
    token_advantages=jnp.asarray(advantages, jnp.float32),
    completion_mask=jnp.ones_like(logprobs)
    if mask is None
    else jnp.asarray(mask, jnp.float32),
  )


def _kl_cov(
  logprobs=_LOGPROBS,
  advantages=_ADVANTAGES,
  mask=None,
  transform=lambda f: f,
  **settings,
):
  method = functools.partial(derived.kl_cov_tokens, **settings)
  return transform(method)(**_arrays(logprobs, advantages, mask)).tolist()


def _clip_cov(
  logprobs=_LOGPROBS,
  advantages=_ADVANTAGES,
  mask=None,
  old_logprobs=None,
  uniforms=None,
  transform=lambda f: f,
  **settings,
):
  arrays = _arrays(logprobs, advantages, mask)
  old = logprobs if old_logprobs is None else old_logprobs
  method = functools.partial(derived.clip_cov_tokens, **settings)
  return transform(method)(
    **arrays,
    old_logprobs=jnp.asarray(old, jnp.float32),
    token_uniforms=jnp.full_like(arrays["logprobs"], 0.5)
    if uniforms is None
    else jnp.asarray(uniforms, jnp.float32),
  ).tolist()


# ----------------------------------------------------------------- kl_cov


@marks.with_and_without_jit
def test_the_largest_covariance_is_chosen(transform):
  # max(1, floor(2e-3 * 4)) = 1.
  assert _kl_cov(transform=transform) == [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
  "select_frac, chosen",
  [
    # floor(0.5 * 4) = 2: 1.1 and 0.9; floor(0.74 * 4) = 2; 0.75 gives 3.
    (0.5, [1.0, 0.0, 0.0, 1.0]),
    (0.74, [1.0, 0.0, 0.0, 1.0]),
    (0.75, [1.0, 0.0, 1.0, 1.0]),
    (1.0, [1.0, 1.0, 1.0, 1.0]),
    (0.0, [0.0, 0.0, 0.0, 0.0]),
  ],
)
def test_the_share_is_rounded_down(select_frac, chosen):
  assert _kl_cov(select_frac=select_frac) == [chosen]


def test_ties_go_to_the_lower_flat_index():
  # Means 0 and -1: all four covariances are 1 on both rows.
  found = _kl_cov(
    [[0.0, -2.0], [0.0, -2.0]], [[1.0, -1.0], [1.0, -1.0]], select_frac=0.75
  )
  assert found == [[1.0, 1.0], [1.0, 0.0]]


@marks.with_and_without_jit
def test_means_and_counts_leave_padding_out(transform):
  nan = jnp.nan
  found = _kl_cov(
    [[*_LOGPROBS[0], nan], [-9.0] * 5],
    [[*_ADVANTAGES[0], nan], [7.0] * 5],
    mask=[[1, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
    select_frac=0.5,
    transform=transform,
  )
  assert found == [[1.0, 0.0, 0.0, 1.0, 0.0], [0.0] * 5]


@pytest.mark.parametrize("choose", [_kl_cov, _clip_cov])
def test_nothing_is_chosen_of_a_batch_without_tokens(choose):
  found = choose(mask=[[0.0] * 4], transform=jax.jit, select_frac=0.5)
  assert found == [[0.0] * 4]


# --------------------------------------------------------------- clip_cov


@marks.with_and_without_jit
def test_the_band_admits_one_token(transform):
  # 1 < cov < 5 holds for 1.1 alone.
  assert _clip_cov(transform=transform) == [[1.0, 0.0, 0.0, 0.0]]


def test_the_band_is_open_at_both_ends():
  # Means 0 and -1.5, cov = A * (logprob + 1.5): (1.5, -1.5, -0.5, 0.5), all
  # exact in float32.
  arrays = dict(logprobs=[[0.0, -3.0, -1.0, -2.0]], select_frac=1.0)
  band = lambda low, high: _clip_cov(**arrays, cov_low=low, cov_high=high)[0]
  assert band(0.0, 2.0) == [1.0, 0.0, 0.0, 1.0]
  assert band(0.5, 2.0) == [1.0, 0.0, 0.0, 0.0]
  assert band(0.0, 1.5) == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("select_frac, num", [(2e-4, 1), (0.5, 2), (1.0, 4)])
def test_the_share_counts_all_tokens_and_the_draw_only_the_eligible(
  select_frac, num
):
  # All four are eligible; the largest random numbers win.
  found = _clip_cov(
    uniforms=[[0.1, 0.4, 0.3, 0.2]],
    select_frac=select_frac,
    cov_low=-9.0,
    cov_high=9.0,
  )
  order = [1, 2, 3, 0]
  assert [i for i in range(4) if found[0][i]] == sorted(order[:num])


def test_every_eligible_token_is_drawn_equally_often():
  # Two eligible tokens of three, one draw: 2,000 times in 4,000, give or take
  # 4.4 deviations of sqrt(4000 / 4) = 31.6.
  def draw(uniforms):
    return derived.clip_cov_tokens(
      logprobs=jnp.asarray([[-0.5, -0.5, -2.0]]),
      old_logprobs=jnp.asarray([[-0.5, -0.5, -2.0]]),
      token_advantages=jnp.asarray([[1.0, 1.0, -2.0]]),
      completion_mask=jnp.ones((1, 3)),
      token_uniforms=uniforms,
      cov_low=0.0,
      cov_high=0.9,
    )

  uniforms = jax.random.uniform(jax.random.key(3), (4000, 1, 3))
  times = jnp.sum(jax.jit(jax.vmap(draw))(uniforms), axis=(0, 1))
  assert times[2] == 0.0
  assert abs(times[0] - 2000) < 140
  assert times[0] + times[1] == 4000


def test_tokens_that_the_ppo_clip_binds_already_are_left_alone():
  # Ratio e on token 0 with A = 1: clipped at 1.2 already. With a width of 2
  # it is not.
  old = [[-1.1, -2.3, -0.3, -2.1]]
  assert _clip_cov(old_logprobs=old) == [[0.0] * 4]
  assert _clip_cov(old_logprobs=old, clip_high=2.0) == [[1.0, 0.0, 0.0, 0.0]]
  # Token 3 has A = -1: bound below the lower width, ratio exp(-1).
  old, band = [[-0.1, -2.3, -0.3, -1.1]], dict(cov_low=0.5, cov_high=1.0)
  assert _clip_cov(old_logprobs=old, **band) == [[0.0] * 4]
  assert _clip_cov(old_logprobs=old, **band, clip_low=0.7) == [[0, 0, 0, 1]]


def test_an_empty_band_draws_none():
  assert _clip_cov(cov_low=1.0, cov_high=1.0) == [[0.0] * 4]


@marks.with_and_without_jit
def test_padding_is_never_drawn(transform):
  nan = jnp.nan
  found = _clip_cov(
    [[*_LOGPROBS[0], nan]],
    [[*_ADVANTAGES[0], nan]],
    mask=[[1, 1, 1, 1, 0]],
    uniforms=[[0.1, 0.2, 0.3, 0.4, 0.9]],
    select_frac=1.0,
    transform=transform,
  )
  assert found == [[1.0, 0.0, 0.0, 0.0, 0.0]]


# ------------------------------------------------------------------- both


@pytest.mark.parametrize("method", [_kl_cov, _clip_cov])
def test_choices_carry_no_gradient(method):
  function = {
    _kl_cov: derived.kl_cov_tokens,
    _clip_cov: functools.partial(
      derived.clip_cov_tokens,
      old_logprobs=jnp.asarray(_LOGPROBS),
      token_uniforms=jnp.full((1, 4), 0.5),
    ),
  }[method]
  arrays = _arrays(_LOGPROBS, _ADVANTAGES, None)
  total = lambda logprobs: jnp.sum(function(**arrays | {"logprobs": logprobs}))
  np.testing.assert_array_equal(
    jax.grad(total)(arrays["logprobs"]), jnp.zeros((1, 4))
  )
