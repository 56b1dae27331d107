"""Group-relative advantages against hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages


def _grpo(rewards, group_ids, valid=None, **settings):
  rewards = jnp.asarray(rewards, jnp.float32)
  valid = jnp.ones_like(rewards) if valid is None else jnp.asarray(valid)
  return advantages.grpo_advantages(
    rewards=rewards,
    group_ids=jnp.asarray(group_ids, jnp.int32),
    valid=valid.astype(jnp.float32),
    **settings,
  )


def test_one_success_in_four():
  # Mean 1/4; squares (9 + 3) / 16 over 3 rows: deviation 1/2 with Bessel.
  found = _grpo([1, 0, 0, 0], [0, 0, 0, 0])
  np.testing.assert_allclose(found, [1.5, -0.5, -0.5, -0.5], rtol=1e-5)


def test_without_bessel():
  # Deviation sqrt(3) / 4: 0.75 / 0.433013 = 1.732051.
  found = _grpo([1, 0, 0, 0], [0, 0, 0, 0], ddof=0)
  np.testing.assert_allclose(found, [3**0.5] + [-(3**-0.5)] * 3, rtol=1e-5)


def test_neutral_setting_is_the_centred_reward():
  found = _grpo([1, 0, 3, 5], [0, 0, 1, 1], normalize_std=False)
  np.testing.assert_array_equal(found, [0.5, -0.5, -1.0, 1.0])


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3.7])
def test_an_equal_group_gets_exact_zeros(value):
  np.testing.assert_array_equal(_grpo([value] * 3, [0] * 3), [0.0] * 3)


def test_groups_do_not_see_each_other():
  together = _grpo([1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 1, 0])
  np.testing.assert_array_equal(
    together[0::2][:2], _grpo([1, 0, 0], [0] * 3)[:2]
  )
  np.testing.assert_array_equal(
    together[jnp.array([1, 3, 4])], _grpo([0, 1, 1], [0] * 3)
  )


def test_invalid_rows_count_nowhere():
  found = _grpo([1, 0, jnp.nan, 7], [0] * 4, valid=[1, 1, 0, 0])
  np.testing.assert_allclose(
    found, [0.5**0.5, -(0.5**0.5), 0.0, 0.0], rtol=1e-5
  )


def test_the_same_under_jit():
  arguments = ([1, 0, 0, 0], [0, 0, 0, 0])
  np.testing.assert_array_equal(
    jax.jit(lambda r: _grpo(r, arguments[1]))(jnp.array([1.0, 0, 0, 0])),
    _grpo(*arguments),
  )
