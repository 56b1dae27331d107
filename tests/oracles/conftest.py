"""Every oracle runs in both precisions."""

import jax
import pytest

from tests.oracles import enumeration


@pytest.fixture(
  params=[
    enumeration.Precision("float64", 1e-9),
    enumeration.Precision("float32", 1e-5),
  ],
  ids=lambda precision: precision.dtype,
)
def precision(request):
  with jax.enable_x64(request.param.dtype == "float64"):
    yield request.param
