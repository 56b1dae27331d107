"""Credit from entropy: the numbers of the papers' cards and their traps."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import token_weights
from tests import marks


def _array(values):
  return jnp.asarray(values, jnp.float32)


def _kept(entropies, mask=None, transform=lambda f: f, **settings):
  entropies = _array(entropies)
  mask = jnp.ones_like(entropies) if mask is None else _array(mask)
  method = functools.partial(token_weights.forking_token_mask, **settings)
  return transform(method)(entropies=entropies, completion_mask=mask).mask


# ---------------------------------------------------------------- forking


@marks.with_and_without_jit
@pytest.mark.parametrize("num_tokens, kept", [(10, 2), (11, 3), (1, 1)])
def test_a_fifth_of_the_tokens_is_rounded_up(num_tokens, kept, transform):
  # ceil(0.2 * 10) = 2, ceil(0.2 * 11) = 3, ceil(0.2) = 1.
  entropies = jnp.arange(num_tokens, dtype=jnp.float32)[None]
  found = _kept(entropies, transform=transform)
  np.testing.assert_array_equal(
    found, [[0.0] * (num_tokens - kept) + [1.0] * kept]
  )


def test_ranks_run_over_the_batch_and_not_over_each_row():
  # ceil(0.5 * 4) = 2: both from row 0. Row by row it would be one each.
  found = _kept([[2.0, 3.0], [0.1, 1.0]], keep_frac=0.5)
  np.testing.assert_array_equal(found, [[1.0, 1.0], [0.0, 0.0]])


def test_ties_go_to_the_lower_flat_index():
  # ceil(0.4 * 6) = 3: the 2, then the first two of the ones.
  found = _kept([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]], keep_frac=0.4)
  np.testing.assert_array_equal(found, [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


@marks.with_and_without_jit
def test_padding_is_never_chosen_nor_counted(transform):
  # ceil(0.5 * 3) = 2 of the three real tokens, whatever the padding holds.
  found = _kept(
    [[0.1, 0.3, jnp.nan], [0.2, jnp.inf, 9.0]],
    mask=[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
    keep_frac=0.5,
    transform=transform,
  )
  np.testing.assert_array_equal(found, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def test_nothing_is_kept_of_a_batch_without_tokens():
  found = _kept([[0.5, jnp.nan]], mask=[[0.0, 0.0]], transform=jax.jit)
  np.testing.assert_array_equal(found, [[0.0, 0.0]])


# ------------------------------------------------------------------ steer

# Sampled tokens of a two-way split: probability 0.9, 0.5, 0.1 with the
# entropies of that split. p (1 - p) / p_old = 1 - p here, so omega is
# (1 - p) * |ln p + H|: 0.1 * 0.21972, 0.5 * 0, 0.9 * 1.97750.
_PROBS = (0.9, 0.5, 0.1)
_ENTROPIES = (0.325083, 0.693147, 0.325083)


def _steer(
  probs=_PROBS,
  entropies=_ENTROPIES,
  advantages=(1.0, 1.0, -1.0),
  old_probs=None,
  mask=None,
  transform=lambda f: f,
  **settings,
):
  logprobs = jnp.log(_array([probs]))
  old = logprobs if old_probs is None else jnp.log(_array([old_probs]))
  mask = jnp.ones_like(logprobs) if mask is None else _array([mask])
  method = functools.partial(token_weights.steer_weights, **settings)
  return transform(method)(
    logprobs=logprobs,
    old_logprobs=old,
    entropies=_array([entropies]),
    token_advantages=_array([advantages]),
    completion_mask=mask,
  ).weight[0]


@marks.with_and_without_jit
def test_linear_weights(transform):
  # 1.2 - 0.4 * omega / 1.77975 with omega = (0.02197, 0, 1.77975).
  np.testing.assert_allclose(
    _steer(transform=transform), [1.19506, 1.2, 0.8], rtol=1e-5
  )


@marks.with_and_without_jit
def test_exponential_weights(transform):
  # k = -ln(0.8) / 1.77975 = 0.12538; exp(-k * 0.02197) = 0.99725.
  np.testing.assert_allclose(
    _steer(schedule="exponential", transform=transform),
    [0.99725, 1.0, 0.8],
    rtol=1e-5,
  )


def test_an_even_split_changes_no_entropy_whatever_the_advantage():
  # ln(1/2) + H = 0: full weight, though the advantage is a hundredfold.
  found = _steer(advantages=(1.0, 100.0, -1.0))
  np.testing.assert_allclose(found[1], 1.2, rtol=1e-6)


def test_the_old_policy_divides():
  # Omega = 0.9 * 0.1 / 0.45 * 0.21972 = 0.2 * 0.21972 is twice that of row 0
  # in _PROBS; against max = 1.77975 it falls by 0.4 * 0.04394 / 1.77975.
  found = _steer(old_probs=(0.45, 0.5, 0.1))
  expected = 1.2 - 0.4 * 0.043944 / 1.77975
  np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_equal_changes_get_the_middle_weight():
  found = _steer((0.9,) * 3, (0.325083,) * 3, (1.0, -1.0, 1.0))
  np.testing.assert_allclose(found, [1.0] * 3, rtol=1e-6)
  found = _steer(
    (0.9,) * 3, (0.325083,) * 3, (0.0,) * 3, weight_min=0.5, weight_max=2.0
  )
  np.testing.assert_allclose(found, [1.25] * 3, rtol=1e-6)


def test_small_changes_hardly_lower_an_exponential_weight():
  # Max omega 0.02197 * 0.1 = 0.002197 < 0.02: k = -ln(0.8) / 0.02, so the
  # largest change gets 0.8 ** (0.002197 / 0.02) and not 0.8.
  found = _steer(
    (0.9, 0.5), (0.325083, 0.693147), (0.1, 1.0), schedule="exponential"
  )
  np.testing.assert_allclose(found, [0.8 ** (0.0021972 / 0.02), 1.0], rtol=1e-4)


@marks.with_and_without_jit
@pytest.mark.parametrize("schedule", ["linear", "exponential"])
def test_padding_takes_no_part_in_minimum_and_maximum(schedule, transform):
  found = _steer(
    (*_PROBS, 1.0),
    (*_ENTROPIES, jnp.nan),
    (1.0, 1.0, -1.0, jnp.nan),
    mask=(1.0, 1.0, 1.0, 0.0),
    schedule=schedule,
    transform=transform,
  )
  np.testing.assert_allclose(found[:3], _steer(schedule=schedule), rtol=1e-6)
  assert jnp.isfinite(found[3])


def test_the_minimum_is_that_of_real_tokens():
  # Without the even split the smallest omega is 0.02197; padding has none.
  found = _steer(mask=(1.0, 0.0, 1.0))
  np.testing.assert_allclose(found[jnp.asarray([0, 2])], [1.2, 0.8], rtol=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "exponential"])
def test_a_batch_without_tokens_gives_finite_weights(schedule):
  found = _steer(mask=(0.0,) * 3, schedule=schedule, transform=jax.jit)
  assert jnp.all(jnp.isfinite(found))


def test_a_certain_token_is_finite():
  # p is cut at 1 - 1e-8 below, which float32 rounds to 1: omega 0, no NaN.
  found = _steer((1.0, 0.5, 0.1), (0.0, 0.693147, 0.325083))
  np.testing.assert_allclose(found, [1.2, 1.2, 0.8], rtol=1e-5)


def test_the_weights_carry_no_gradient():
  def total(logprobs, entropies):
    shape = token_weights.steer_weights(
      logprobs=logprobs,
      old_logprobs=jnp.log(_array([_PROBS])),
      entropies=entropies,
      token_advantages=jnp.ones((1, 3)),
      completion_mask=jnp.ones((1, 3)),
    )
    return jnp.sum(shape.weight)

  found = jax.grad(total, argnums=(0, 1))(
    jnp.log(_array([_PROBS])), _array([_ENTROPIES])
  )
  for gradient in found:
    np.testing.assert_array_equal(gradient, jnp.zeros((1, 3)))


def test_an_unknown_schedule_is_refused_by_name():
  with pytest.raises(errors.UserError) as caught:
    _steer(schedule="exponent")
  assert str(caught.value) == (
    "steer_weights schedule is 'exponent': did you mean 'exponential'? choose"
    " one of exponential, linear"
  )


# ------------------------------------------------------------------- empg


def _empg(
  entropies,
  steps,
  advantages=None,
  mask=None,
  transform=lambda f: f,
  **settings,
):
  """Token advantages after weight and bonus."""
  entropies, steps = _array(entropies), jnp.asarray(steps, jnp.int32)
  ones = jnp.ones_like(entropies)
  advantages = ones if advantages is None else _array(advantages)
  method = functools.partial(token_weights.empg_weights, **settings)
  shape = transform(method)(
    frozen_entropies=entropies,
    segment_ids=steps,
    token_advantages=advantages,
    completion_mask=ones if mask is None else _array(mask),
  )
  return advantages * shape.weight + shape.bonus


# Three steps with entropies 0.2, 0.6, 1: hn = (0, 0.5, 1), exp(-hn) =
# (1, 0.60653, 0.36788) with mean 0.65814, so g = (1.51944, 0.92159, 0.55897).
# With A = 1 and 0.1 of the next step's exp(-hn): (1.58009, 0.95838, 0.55897),
# whose mean is 1.03248.
_SHAPED = np.asarray([1.58009, 0.95838, 0.55897])
_CENTRED = np.asarray([0.54761, -0.07410, -0.47351])


@marks.with_and_without_jit
def test_three_steps_of_one_token(transform):
  found = _empg([[0.2, 0.6, 1.0]], [[0, 1, 2]], transform=transform)
  np.testing.assert_allclose(found, [_CENTRED], atol=1e-5)


def test_the_entropy_of_a_step_is_the_mean_of_its_tokens():
  # Steps (0.1, 0.3), (0.6), (0.8, 1.0, 1.2): the same three means. The last
  # centring runs over tokens: (2 * 1.58009 + 0.95838 + 3 * 0.55897) / 6.
  found = _empg([[0.1, 0.3, 0.6, 0.8, 1.0, 1.2]], [[0, 0, 1, 2, 2, 2]])
  mean = (2 * _SHAPED[0] + _SHAPED[1] + 3 * _SHAPED[2]) / 6
  np.testing.assert_allclose(
    found, [np.repeat(_SHAPED - mean, [2, 1, 3])], atol=1e-5
  )


def test_minimum_maximum_and_mean_run_over_the_steps_of_the_batch():
  # The same three steps on two rows. Step 0 of row 0 is its last: no future,
  # so 1.51944; row 1 has steps 0.6 and 1.
  found = _empg([[0.2, 0.2], [0.6, 1.0]], [[0, 0], [0, 1]])
  shaped = np.asarray([1.51944, 1.51944, _SHAPED[1], _SHAPED[2]])
  np.testing.assert_allclose(found.ravel(), shaped - shaped.mean(), atol=1e-5)


def test_tokens_outside_of_any_step_get_the_centring_alone():
  found = _empg([[0.2, 0.6, 1.0, 5.0]], [[0, 1, 2, -1]])
  shaped = np.asarray([*_SHAPED, 1.0])
  np.testing.assert_allclose(found[0], shaped - shaped.mean(), atol=1e-5)


def test_sharpness_and_future():
  # exp(-2 hn) = (1, 0.36788, 0.13534) with mean 0.50107; the future adds half
  # of exp(-3 hn) = (., 0.22313, 0.04979).
  found = _empg(
    [[0.2, 0.6, 1.0]], [[0, 1, 2]], sharpness=2.0, future_sharpness=3.0,
    future_coef=0.5,
  )  # fmt: skip
  gain = np.exp([0.0, -1.0, -2.0])
  shaped = gain / gain.mean() + 0.5 * np.asarray([0.22313, 0.04979, 0.0])
  np.testing.assert_allclose(found[0], shaped - shaped.mean(), atol=1e-5)


def test_steps_of_equal_entropy_leave_the_advantages_apart():
  # hn = 0 everywhere: weight 1, future 0.1 on all but the last step.
  found = _empg([[0.5, 0.5]], [[0, 1]], [[2.0, -1.0]])
  np.testing.assert_allclose(found, [[2.1 - 0.55, -1.0 - 0.55]], atol=1e-6)


@marks.with_and_without_jit
def test_padding_is_inert(transform):
  found = _empg(
    [[0.2, 0.6, 1.0, jnp.nan]],
    [[0, 1, 2, -1]],
    [[1.0, 1.0, 1.0, jnp.nan]],
    mask=[[1.0, 1.0, 1.0, 0.0]],
    transform=transform,
  )
  np.testing.assert_allclose(found[0, :3], _CENTRED, atol=1e-5)


def test_a_batch_without_tokens_gives_finite_credit():
  found = _empg([[0.2, 0.6]], [[-1, -1]], mask=[[0.0, 0.0]], transform=jax.jit)
  assert jnp.all(jnp.isfinite(found))


def test_groups_without_variance_get_credit_from_the_future():
  # A = 0: all that is left is the bonus 0.1 exp(-hn) of the next step.
  found = _empg([[0.2, 1.0]], [[0, 1]], [[0.0, 0.0]])
  future = 0.1 * math.exp(-1.0)
  np.testing.assert_allclose(found, [[future / 2, -future / 2]], atol=1e-6)
