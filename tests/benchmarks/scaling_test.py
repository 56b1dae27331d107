"""Exponents, and the sizes they are fitted to."""

import math

import numpy as np
import pytest

from benchmarks import flops
from benchmarks import scaling


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_exponents_of_exact_powers(power):
  values = [8, 16, 32, 64]
  costs = [3.0 * x**power for x in values]
  linear = [5.0 * x for x in values]
  found = scaling.growth(values, costs, linear)
  assert math.isclose(found["exponent"], power, abs_tol=1e-9)
  assert math.isclose(found["last_exponent"], power, abs_tol=1e-9)
  assert math.isclose(found["counted_exponent"], 1.0)
  assert found["is_steep"] == (power > 1.15)


def test_sizes_are_doubled_one_at_a_time():
  args = scaling.arguments().parse_args([])
  base = scaling.base_size(args)
  sizes = scaling.axes(base, number=4)
  for name, axis in sizes.items():
    assert axis[getattr(base, name)] == base
    assert list(axis) == [getattr(base, name) * 2**i for i in range(4)]
  widest = sizes["width"][8 * base.width]
  assert widest.heads == 8 * base.heads and widest.ffn == 8 * base.ffn
  # Twice the prompts are twice the arithmetic.
  counted = [flops.forward_flops(x) for x in sizes["prompts"].values()]
  assert np.allclose(np.divide(counted[1:], counted[:-1]), 2.0)
