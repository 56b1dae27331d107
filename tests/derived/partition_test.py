"""Log-partitions and anchors that nobody learns."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import derived
from rlvr_jax import errors


def test_noise_has_the_mean_and_the_deviation_asked_for():
  normals = jnp.array([-1.0, -1.0, 0.0, 2.0])
  of = lambda **changes: derived.noise_log_partition(
    prompt_normals=normals, **changes
  )
  # GFlowRL's control: N(0.5, 1).
  np.testing.assert_array_equal(of(), [-0.5, -0.5, 0.5, 2.5])
  np.testing.assert_array_equal(of(mean=10.0, std=3.0), [7.0, 7.0, 10.0, 16.0])


def test_noise_of_mean_and_deviation_zero_is_the_zero_log_partition():
  noise = derived.noise_log_partition(
    prompt_normals=jnp.array([1.0, -2.0]), mean=0.0, std=0.0
  )
  zero = derived.zero_log_partition(valid=jnp.array([1.0, 0.0]))
  np.testing.assert_array_equal(noise, zero)


def test_the_zero_anchor_has_the_shape_of_the_completions():
  found = derived.zero_anchor(completion_mask=jnp.ones((2, 3)))
  np.testing.assert_array_equal(found, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
  "call, message",
  [
    (
      lambda: derived.noise_log_partition(prompt_normals=jnp.zeros((2, 1))),
      "prompt_normals has shape (2, 1): it takes [B]",
    ),
    (
      lambda: derived.noise_log_partition(prompt_normals=jnp.array([jnp.nan])),
      "prompt_normals[0] is nan: mask the cell out, or mend what computed it",
    ),
    (
      lambda: derived.zero_log_partition(valid=jnp.array([-1.0])),
      "valid[0] is -1.0: masks are 0 or positive",
    ),
    (
      lambda: derived.zero_anchor(completion_mask=jnp.ones(2)),
      "completion_mask has shape (2,): it takes [B, T]",
    ),
  ],
)
def test_mistakes_are_refused_by_field_and_value(call, message):
  with pytest.raises(errors.UserError) as caught:
    call()
  assert str(caught.value) == message
