"""PSR, NSR and W-REINFORCE: a constant of either sign and who stays."""

import functools

import jax.numpy as jnp
import pytest

from rlvr_jax import advantages
from tests import marks


@marks.with_and_without_jit
@pytest.mark.parametrize(
  "weights, values, keep",
  [
    # PSR: the correct row with 1, the other dropped.
    ((1.0, 0.0), [1.0, 0.0], [1.0, 0.0]),
    # NSR: the incorrect row with -1, the other dropped.
    ((0.0, 1.0), [0.0, -1.0], [0.0, 1.0]),
    # W-REINFORCE keeps both: 1/8 and -1.
    ((0.125, 1.0), [0.125, -1.0], [1.0, 1.0]),
    # REINFORCE on -1 and 1.
    ((1.0, 1.0), [1.0, -1.0], [1.0, 1.0]),
  ],
)
def test_one_right_and_one_wrong_row(transform, weights, values, keep):
  method = functools.partial(
    advantages.signed_advantages,
    positive_weight=weights[0],
    negative_weight=weights[1],
  )
  found = transform(method)(is_correct=jnp.asarray([1.0, 0.0]))
  assert [x.tolist() for x in found] == [values, keep]


def test_defaults_are_those_of_w_reinforce():
  values, keep = advantages.signed_advantages(
    is_correct=jnp.asarray([1.0, 0.0])
  )
  assert values.tolist() == pytest.approx([0.1, -1.0])
  assert keep.tolist() == [1.0, 1.0]


def test_groups_of_equal_verdicts_learn_too():
  values, _ = advantages.signed_advantages(is_correct=jnp.zeros(3))
  assert values.tolist() == [-1.0] * 3


@pytest.mark.parametrize("dtype", [bool, jnp.int32])
def test_verdicts_that_are_no_floats_give_advantages_that_are(dtype):
  # In the verdict's own type -1 would be True, and 0.1 would be 0.
  verdicts = jnp.asarray([1, 0], dtype)
  values, keep = advantages.signed_advantages(is_correct=verdicts)
  assert values.dtype == keep.dtype == jnp.float32
  assert values.tolist() == pytest.approx([0.1, -1.0])
  assert keep.tolist() == [1.0, 1.0]
