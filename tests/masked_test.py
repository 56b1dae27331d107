"""Masked and grouped reductions against hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import masked


def _floats(*values):
  return jnp.asarray(values, jnp.float32)


def test_masked_sum_ignores_what_lies_under_the_mask():
  values = _floats(1.0, jnp.nan, 3.0, jnp.inf)
  mask = _floats(1.0, 0.0, 0.5, 0.0)
  assert masked.masked_sum(values, mask) == 2.5


def test_masked_sum_has_no_gradient_under_the_mask():
  mask = _floats(1.0, 0.0)
  gradient = jax.grad(masked.masked_sum)(_floats(2.0, jnp.nan), mask)
  np.testing.assert_array_equal(gradient, [1.0, 0.0])


def test_masked_mean_keeps_sum_and_count_apart():
  mean = masked.masked_mean(_floats(1.0, 5.0, 9.0), _floats(1.0, 1.0, 0.0))
  assert (mean.total, mean.count, mean.value()) == (6.0, 2.0, 3.0)


def test_mean_of_nothing_is_zero():
  mean = masked.masked_mean(_floats(1.0), _floats(0.0))
  assert (mean.count, mean.value()) == (0.0, 0.0)


def test_merged_means_weigh_by_count():
  mean = masked.records.Mean(_floats(6.0)[0], _floats(4.0)[0])
  merged = mean.merge(masked.records.Mean(_floats(2.0)[0], _floats(4.0)[0]))
  assert merged.value() == 1.0


def test_group_mean_lays_the_mean_back_on_rows():
  means = masked.group_mean(
    _floats(1.0, 2.0, 3.0, 10.0), jnp.array([0, 1, 0, 1]), jnp.ones(4)
  )
  np.testing.assert_array_equal(means, [2.0, 6.0, 2.0, 6.0])


def test_group_mean_leaves_invalid_rows_out():
  means = masked.group_mean(
    _floats(1.0, 3.0, jnp.nan), jnp.array([0, 0, 0]), _floats(1.0, 1.0, 0.0)
  )
  np.testing.assert_array_equal(means, [2.0, 2.0, 2.0])


def test_group_mean_of_no_valid_row_is_zero():
  means = masked.group_mean(_floats(5.0), jnp.array([0]), _floats(0.0))
  np.testing.assert_array_equal(means, [0.0])


def test_group_std_with_and_without_bessel():
  # Values 1, 3: squares about the mean 2 sum to 2; over n - 1 = 1 or n = 2.
  arguments = (_floats(1.0, 3.0), jnp.array([0, 0]), jnp.ones(2))
  np.testing.assert_allclose(
    masked.group_std(*arguments, ddof=1), [2**0.5] * 2, rtol=1e-6
  )
  np.testing.assert_allclose(
    masked.group_std(*arguments, ddof=0), [1.0] * 2, rtol=1e-6
  )


def test_an_equal_group_is_centred_to_exact_zeros():
  # The float32 sum of three times 0.1 is not three times float32 0.1.
  values = jnp.full(3, 0.1, jnp.float32)
  arguments = (values, jnp.zeros(3, jnp.int32), jnp.ones(3))
  np.testing.assert_array_equal(masked.group_centred(*arguments), [0.0] * 3)
  np.testing.assert_array_equal(masked.group_std(*arguments, ddof=1), [0.0] * 3)
