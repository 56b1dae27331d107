"""Parts of a batch: equal, whole, and joined again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import parts
from tests import testing


@pytest.mark.parametrize("num_devices", [1, 2, 4])
@pytest.mark.parametrize("num_parts", [1, 2, 4, 6, 12])
def test_joining_undoes_a_split(num_parts, num_devices):
  batch = testing.rollout_batch(num_prompts=4, samples=3)
  rows = jnp.arange(12)
  part = parts.Part(
    batch.prompts, batch.completion_tokens, {"rows": rows, "step": jnp.ones(())}
  )
  into = parts.division(part, num_parts, num_devices)
  split = parts.split(part, into)
  assert split.fields["step"].shape == (num_parts,)
  assert split.fields["rows"].shape == (num_parts, 12 // num_parts)
  np.testing.assert_array_equal(
    parts.joined_rows(split.fields["rows"], into), rows
  )
  # Every row stays with its prompt.
  ids = jnp.repeat(batch.prompts.prompt_ids, 3)
  for i in range(num_parts):
    own = jax.tree.map(lambda x, i=i: x[i], split.prompts)
    per_prompt = 12 // num_parts // own.prompt_ids.shape[0]
    np.testing.assert_array_equal(
      jnp.repeat(own.prompt_ids, per_prompt), ids[split.fields["rows"][i]]
    )


@pytest.mark.parametrize(
  "num_parts, prompts, samples, expected",
  [
    (1, 4, 2, (1, 1)),
    (2, 4, 2, (2, 1)),
    (3, 4, 2, None),
    (8, 4, 2, (4, 2)),
    (16, 4, 2, None),
    (6, 4, 3, (2, 3)),
    (12, 4, 3, (4, 3)),
  ],
)
def test_which_divisions_are_even(num_parts, prompts, samples, expected):
  found = parts.even_division(num_parts, prompts, samples)
  assert found == (expected and (prompts, *expected))


@pytest.mark.parametrize(
  "num_parts, num_devices, expected",
  [
    # Every device has a prompt in each part, and its samples are shared out.
    (2, 4, (2, 1)),
    (4, 4, (2, 2)),
    (8, 4, (2, 4)),
    (4, 8, (1, 4)),
    # There is no such division: fewer devices have rows.
    (8, 8, (8, 1)),
    (2, 3, (2, 1)),
  ],
)
def test_parts_are_spread_over_devices(num_parts, num_devices, expected):
  found = parts.even_division(num_parts, 8, 4, num_devices)
  assert found == (8, *expected)


def test_parts_that_cannot_be_equal_are_refused():
  batch = testing.rollout_batch(num_prompts=4, samples=3)
  part = parts.Part(batch.prompts, batch.completion_tokens, {})
  with pytest.raises(errors.UserError, match="5 parts were asked for"):
    parts.division(part, 5)
