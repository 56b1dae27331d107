"""Parts of a batch: equal, whole, and joined again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import parts
from tests import testing


@pytest.mark.parametrize("num_parts", [1, 2, 4, 12])
def test_joining_undoes_a_split(num_parts):
  batch = testing.rollout_batch(num_prompts=4, samples=3)
  rows = jnp.arange(12)
  part = parts.Part(
    batch.prompts, batch.completion_tokens, {"rows": rows, "step": jnp.ones(())}
  )
  split = parts.split(part, num_parts)
  assert split.fields["step"].shape == (num_parts,)
  assert split.fields["rows"].shape == (num_parts, 12 // num_parts)
  np.testing.assert_array_equal(
    parts.joined_rows(split.fields["rows"], 4), rows
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
    (1, 4, 2, True),
    (2, 4, 2, True),
    (3, 4, 2, False),
    (8, 4, 2, True),
    (16, 4, 2, False),
    (6, 4, 3, False),
    (12, 4, 3, True),
  ],
)
def test_which_splits_are_even(num_parts, prompts, samples, expected):
  assert parts.splits_evenly(num_parts, prompts, samples) == expected
