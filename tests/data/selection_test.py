"""Uniform selection: each prompt once an epoch, in a new order each time."""

import jax
import numpy as np
import pytest

from rlvr_jax.data import selection

_uniform = jax.jit(selection.uniform, static_argnums=(2, 3))


def _steps(seed, num_prompts, batch_size, steps):
  return np.concatenate(
    [_uniform(seed, step, num_prompts, batch_size) for step in range(steps)]
  )


@pytest.mark.parametrize("num_prompts, batch_size", [(12, 4), (10, 4), (7, 7)])
def test_every_prompt_comes_once_an_epoch(num_prompts, batch_size):
  epochs = 4
  steps = -(-epochs * num_prompts // batch_size)
  ids = _steps(0, num_prompts, batch_size, steps)[: epochs * num_prompts]
  for epoch in ids.reshape(epochs, num_prompts):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(num_prompts))


def test_epochs_and_seeds_have_orders_of_their_own():
  first, second = _steps(0, 50, 50, 2).reshape(2, 50)
  other = _steps(1, 50, 50, 1)
  assert not np.array_equal(first, second)
  assert not np.array_equal(first, other)


def test_a_batch_larger_than_the_data_set_still_names_prompts():
  ids = _uniform(0, 0, 3, 8)
  assert set(np.asarray(ids).tolist()) == {0, 1, 2}
