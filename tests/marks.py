"""Parameters that the tests share; programs that tests start import none."""

import importlib.util

import jax
import pytest

from rlvr_jax.sizing import targets

with_and_without_jit = pytest.mark.parametrize(
  "transform", [jax.jit, lambda function: function], ids=["jit", "eager"]
)


def skip_without_compiler(topology: str) -> None:
  """Skips a test of devices that nothing here compiles for."""
  name = "libtpu"
  if targets.is_of_gpus(topology):
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
    found = [x for x in plugins if importlib.util.find_spec(x)]
    name = found[0] if found else plugins[-1]
  pytest.importorskip(name, reason=f"nothing compiles for {topology} here")
