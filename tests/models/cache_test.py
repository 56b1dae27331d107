"""Keys and values that change rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.models import cache as cache_lib
from tests import testing


def _numbered(num_rows: int, first: int) -> cache_lib.Cache:
  """A cache whose rows hold numbers of their own."""
  cache = cache_lib.empty(testing.tiny_config(), num_rows, 3)
  numbers = first + jnp.arange(num_rows, dtype=jnp.float32)
  return jax.tree.map(lambda x: x + numbers[:, None, None, None], cache)


@pytest.mark.parametrize(
  ("chosen", "expected"),
  [
    ([False, False, False], [0, 1, 2]),
    ([True, False, True], [11, 1, 10]),
    ([True, True, True], [11, 11, 10]),
  ],
)
def test_rows_of_another_cache_take_the_place_of_chosen_ones(chosen, expected):
  with_rows = jax.jit(cache_lib.with_rows)
  rows = jnp.array([1, 1, 0])
  found = with_rows(_numbered(3, 0), _numbered(2, 10), rows, jnp.array(chosen))
  for x in jax.tree.leaves(found):
    wanted = jnp.broadcast_to(jnp.array(expected)[:, None, None, None], x.shape)
    np.testing.assert_array_equal(x, wanted)
