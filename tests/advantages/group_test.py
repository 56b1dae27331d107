"""Group-relative advantages against hand-computed values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from tests import marks

_GROUPED = (
  advantages.grpo_advantages,
  advantages.dr_grpo_advantages,
  advantages.rloo_advantages,
)
_each = pytest.mark.parametrize("method", _GROUPED)


def _call(
  method, rewards, group_ids, valid=None, transform=lambda f: f, **settings
):
  rewards = jnp.asarray(rewards, jnp.float32)
  valid = jnp.ones_like(rewards) if valid is None else jnp.asarray(valid)
  return transform(functools.partial(method, **settings))(
    rewards=rewards,
    group_ids=jnp.asarray(group_ids, jnp.int32),
    valid=valid.astype(jnp.float32),
  )


_grpo = functools.partial(_call, advantages.grpo_advantages)
_dr_grpo = functools.partial(_call, advantages.dr_grpo_advantages)
_rloo = functools.partial(_call, advantages.rloo_advantages)


@marks.with_and_without_jit
def test_one_success_in_four(transform):
  # Mean 1/4; squares (9 + 3) / 16 over 3 rows: deviation 1/2 with Bessel.
  found = _grpo([1, 0, 0, 0], [0, 0, 0, 0], transform=transform)
  np.testing.assert_allclose(found, [1.5, -0.5, -0.5, -0.5], rtol=1e-5)


def test_two_successes_in_four():
  # Mean 1/2; squares 4 / 4 over 3 rows: 0.5 / 0.577350 = 0.866025.
  found = _grpo([1, 1, 0, 0], [0] * 4)
  np.testing.assert_allclose(
    found, [0.866025, 0.866025, -0.866025, -0.866025], rtol=1e-5
  )


def test_graded_rewards():
  # Mean 1.45 / 4 = 0.3625; squares 0.406406 + 0.003906 + 0.045156 + 0.131406
  # = 0.586875 over 3 rows: deviation 0.442295.
  np.testing.assert_allclose(
    _grpo([1.0, 0.3, 0.15, 0.0], [0] * 4),
    [1.441345, -0.141308, -0.480448, -0.819588],
    rtol=1e-5,
  )


def test_without_bessel():
  # Deviation sqrt(3) / 4: 0.75 / 0.433013 = 1.732051.
  found = _grpo([1, 0, 0, 0], [0, 0, 0, 0], ddof=0)
  np.testing.assert_allclose(found, [3**0.5] + [-(3**-0.5)] * 3, rtol=1e-5)


def test_epsilon_is_added_to_the_deviation_outside_of_the_root():
  # Deviation 1/2, plus 1/4: 0.75 / 0.75 = 1. Inside the root it would be
  # 0.75 / sqrt(1/2) = 1.06.
  found = _grpo([1, 0, 0, 0], [0] * 4, epsilon=0.25)
  np.testing.assert_allclose(found, [1.0, -1 / 3, -1 / 3, -1 / 3], rtol=1e-6)


def test_neutral_setting_is_the_centred_reward():
  found = _grpo([1, 0, 3, 5], [0, 0, 1, 1], normalize_std=False)
  np.testing.assert_array_equal(found, [0.5, -0.5, -1.0, 1.0])


@marks.with_and_without_jit
def test_dr_grpo_keeps_the_scale_of_the_rewards(transform):
  # Group means 1/4 and 4: an easy and a hard prompt count by their spread.
  found = _dr_grpo([1, 0, 0, 0, 2, 6], [0, 0, 0, 0, 1, 1], transform=transform)
  np.testing.assert_array_equal(found, [0.75, -0.25, -0.25, -0.25, -2.0, 2.0])


@marks.with_and_without_jit
def test_leave_one_out(transform):
  # The others of the first row have mean 0, those of the second 1/2; the
  # group's own mean would give 2/3 and -1/3.
  found = _rloo([1, 0, 0], [0, 0, 0], transform=transform)
  np.testing.assert_allclose(found, [1.0, -0.5, -0.5], rtol=1e-6)
  np.testing.assert_allclose(
    _dr_grpo([1, 0, 0], [0, 0, 0]), [2 / 3, -1 / 3, -1 / 3], rtol=1e-6
  )


def test_leave_one_out_counts_valid_companions_alone():
  # Rows 0 and 1 have one companion each; row 3 has none left.
  found = _rloo([1, 0, 9, 5, 7], [0, 0, 0, 1, 1], valid=[1, 1, 0, 1, 0])
  np.testing.assert_array_equal(found, [1.0, -1.0, 0.0, 0.0, 0.0])


@_each
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3.7])
def test_an_equal_group_gets_exact_zeros(method, value):
  # The float32 mean of seven times 0.1 is one rounding away from 0.1.
  found = _call(method, [value] * 7, [0] * 7)
  np.testing.assert_array_equal(found, [0.0] * 7)


@_each
def test_groups_do_not_see_each_other(method):
  together = _call(method, [1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 1, 0])
  for rows in ([0, 2, 5], [1, 3, 4]):
    rewards = np.asarray([1, 0, 0, 1, 1, 0])[rows]
    np.testing.assert_array_equal(
      together[jnp.asarray(rows)], _call(method, rewards, [0] * 3)
    )


@_each
@marks.with_and_without_jit
def test_invalid_rows_count_nowhere(method, transform):
  found = _call(
    method, [1, 0, jnp.nan, 7], [0] * 4, valid=[1, 1, 0, 0], transform=transform
  )
  alone = _call(method, [1, 0], [0, 0])
  np.testing.assert_allclose(found[:2], alone, rtol=1e-6)
  np.testing.assert_array_equal(found[2:], [0.0, 0.0])


@_each
def test_a_group_without_valid_rows_gets_zeros(method):
  found = _call(method, [1, 0, jnp.nan], [0] * 3, valid=[0, 0, 0])
  np.testing.assert_array_equal(found, [0.0] * 3)


@_each
def test_a_compiled_group_of_one_row_gets_zero(method):
  # Values are not looked at while compiling; a lone row has nothing to be
  # compared with.
  found = _call(method, [1, 1, 0], [0, 1, 1], transform=jax.jit)
  assert found[0] == 0.0
