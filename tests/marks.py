"""Parameters that the tests share; programs that tests start import none."""

import jax
import pytest

with_and_without_jit = pytest.mark.parametrize(
  "transform", [jax.jit, lambda function: function], ids=["jit", "eager"]
)
