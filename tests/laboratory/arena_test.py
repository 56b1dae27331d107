"""The comparison of methods on made-up numbers."""

import numpy as np
import pytest

from rlvr_jax.laboratory import arena


def _curves(name, last, rises=(0.0, 1.0)):
  """Two seeds, two problems, evaluations at 0 and at `last` tokens."""
  values = np.zeros((2, 2, 2)) + np.array(rises)[:, None, None]
  values[1, 1] += 0.5
  return arena.Curves(
    name, np.array([[0.0, 0.0], last]), {"pass_at_1": values}, 3.0
  )


def test_methods_are_read_off_where_the_least_was_generated():
  curves = [_curves("a", [100.0, 400.0]), _curves("b", [200.0, 200.0])]
  np.testing.assert_array_equal(arena.budget(curves), [100.0, 200.0])
  a, b = (arena.at(x, arena.budget(curves))["pass_at_1"] for x in curves)
  # The first seed of a is at its end, the second half way; b the other way
  # round.
  np.testing.assert_allclose(a, [[1.0, 1.0], [0.75, 0.75]])
  np.testing.assert_allclose(b, [[0.5, 0.5], [1.5, 1.5]])
  report = arena.compared(curves)
  found = report["methods"]["b"]["figures"]["pass_at_1"]
  assert found["mean"] == 1.0
  assert found["difference"][0] == pytest.approx(1.0 - 0.875)
  assert report["methods"]["a"]["ranks"] == [1.0, 2.0]
  assert report["methods"]["b"]["rank"][0] == 1.5
  first = report["methods"]["a"]["figures"]["pass_at_1"]["difference"]
  assert first == (0.0, 0.0, 0.0)


def test_equal_values_share_their_ranks():
  values = np.array([[0.3, 0.1], [0.3, 0.2], [0.1, 0.3]])
  np.testing.assert_array_equal(
    arena.ranks(values), [[1.5, 3.0], [1.5, 2.0], [3.0, 1.0]]
  )


def test_the_table_shows_differences_to_the_first():
  curves = [_curves("a", [100.0, 400.0]), _curves("b", [200.0, 200.0])]
  head, _, a, b = arena.table(arena.compared(curves)).splitlines()
  assert head.startswith("| method | pass@1 | rank | generated tokens |")
  assert a.startswith("| a | 0.875 | 1.5 [")
  assert b.startswith("| b | 1.000 (+0.125 [")
  assert a.endswith("| 250 | 3 |")


def test_the_table_says_where_updates_were_left_out():
  curves = [_curves("a", [100.0, 400.0]), _curves("b", [200.0, 200.0])]
  assert "left out" not in arena.table(arena.compared(curves))
  curves[1] = curves[1]._replace(left_out=3)
  head, _, a, b = arena.table(arena.compared(curves)).splitlines()
  assert head.endswith("| steps with an update left out |")
  assert a.endswith("| 0 |") and b.endswith("| 3 |")
