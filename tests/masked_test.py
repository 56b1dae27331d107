"""Masked and grouped reductions against hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
  # The float32 sum of seven times 0.1 over 7 is not float32 0.1.
  values = jnp.full(7, 0.1, jnp.float32)
  assert masked.group_mean(values, jnp.zeros(7, int), jnp.ones(7))[0] != 0.1
  arguments = (values, jnp.zeros(7, jnp.int32), jnp.ones(7))
  np.testing.assert_array_equal(masked.group_centred(*arguments), [0.0] * 7)
  np.testing.assert_array_equal(masked.group_std(*arguments, ddof=1), [0.0] * 7)


def test_an_invalid_row_is_centred_to_a_finite_value_and_moves_nobody():
  centred = masked.group_centred(
    _floats(1.0, 4.0, jnp.nan), jnp.zeros(3, jnp.int32), _floats(1, 1, 0)
  )
  np.testing.assert_array_equal(centred[:2], [-1.5, 1.5])
  assert jnp.isfinite(centred[2])


def _largest(values, weights, budget):
  as_row = lambda x: jnp.atleast_2d(jnp.asarray(x, jnp.float32))
  found = masked.largest(as_row(values), as_row(weights), jnp.float32(budget))
  return found.tolist()


def test_largest_takes_values_until_their_weight_reaches_the_budget():
  assert _largest([1.0, 3.0, 2.0], [1, 1, 1], 2) == [[0.0, 1.0, 1.0]]
  # The first 3 weighs 0 and cannot be chosen.
  assert _largest([3.0, 1.0, 2.0], [0, 1, 1], 1) == [[0.0, 0.0, 1.0]]
  assert _largest([3.0, 1.0], [1, 1], 0) == [[0.0, 0.0]]
  assert _largest([3.0, 1.0], [1, 0], 9) == [[1.0, 0.0]]


def test_largest_gives_ties_to_the_lower_flat_index():
  assert _largest([[1.0, 1.0], [1.0, 1.0]], [[1, 1], [1, 1]], 3) == [
    [1.0, 1.0],
    [1.0, 0.0],
  ]


def test_a_row_that_stands_twice_at_half_weight_is_chosen_as_once():
  once = _largest([[3.0, 1.0], [2.0, 0.5]], [[1, 1], [1, 1]], 3)
  twice = _largest(
    [[3.0, 1.0], [3.0, 1.0], [2.0, 0.5]],
    [[0.5, 0.5], [0.5, 0.5], [1, 1]],
    3,
  )
  assert once == [[1.0, 1.0], [1.0, 0.0]]
  assert twice == [once[0], *once]


@pytest.mark.parametrize("junk", [jnp.nan, jnp.inf, -jnp.inf])
def test_what_has_no_weight_is_never_chosen(junk):
  assert _largest([junk, 1.0, 2.0], [0, 1, 1], 2) == [[0.0, 1.0, 1.0]]


@pytest.mark.parametrize(
  "frac, count, down, up",
  [
    (0.2, 10, 2, 2),
    (0.2, 11, 2, 3),
    # 0.3 * 100 is 30.000002 and 0.21 * 300 is 62.999996 in float32.
    (0.3, 100, 30, 30),
    (0.21, 300, 63, 63),
    (2e-4, 3000, 1, 1),
    (2e-3, 1499, 2, 3),
    (1.0, 7, 7, 7),
    (0.0, 7, 1, 1),
  ],
)
def test_share_is_a_whole_number_and_at_least_one(frac, count, down, up):
  assert masked.share(frac, jnp.float32(count)) == down
  assert masked.share(frac, jnp.float32(count), up=True) == up


def test_a_row_weighs_what_its_tokens_do():
  mask = _floats([1.0, 1.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0])
  np.testing.assert_array_equal(masked.row_weights(mask), [1.0, 0.5, 0.0])
