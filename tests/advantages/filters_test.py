"""Filters keep groups with both verdicts, and rows with a teacher."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages


def _keep(is_correct, group_ids, valid=None, transform=lambda f: f):
  is_correct = jnp.asarray(is_correct, jnp.float32)
  valid = jnp.ones_like(is_correct) if valid is None else jnp.asarray(valid)
  return transform(advantages.mixed_groups)(
    is_correct=is_correct,
    group_ids=jnp.asarray(group_ids, jnp.int32),
    valid=valid.astype(jnp.float32),
  ).tolist()


@pytest.mark.parametrize("transform", [jax.jit, lambda function: function])
def test_groups_all_right_or_all_wrong_are_dropped(transform):
  # Shares of correct rows: 1/2, 1, 0.
  found = _keep([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2], transform=transform)
  assert found == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_one_success_among_many_is_enough():
  # In float32 too: 1 / 255 and 254 / 255 lie strictly between 0 and 1.
  one = np.arange(255) == 5
  assert _keep(one, [0] * 255) == [1.0] * 255
  assert _keep(~one, [0] * 255) == [1.0] * 255
  assert _keep([1] * 255, [0] * 255) == [0.0] * 255


def test_rows_that_were_not_judged_do_not_make_a_group_mixed():
  # Row 1 says wrong, but nobody judged it: the rest of its group is right.
  assert _keep([1, 0, 1], [0, 0, 0], valid=[1, 0, 1]) == [0.0] * 3


def test_a_group_that_nobody_judged_is_dropped():
  found = _keep([1, 0, 1, 0], [0, 0, 1, 1], valid=[0, 0, 1, 1])
  np.testing.assert_array_equal(found, [0.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize("transform", [jax.jit, lambda function: function])
def test_rows_without_a_teacher_are_dropped(transform):
  found = transform(advantages.with_teacher)(
    has_teacher=jnp.asarray([1.0, 0.0, 1.0])
  )
  np.testing.assert_array_equal(found, [1.0, 0.0, 1.0])
