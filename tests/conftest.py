"""Settings of the whole suite: eight CPU devices, no silent broadcasting."""

import os
import tempfile

# Before jax starts: simulated devices for the laws about sharding, and quick
# compiles, since the suite compiles hundreds of programs and runs each once.
os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
  ]
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import pytest

# For the programs that tests start: they keep what they compile, and not in the
# user's home. Not for this process, which may have inherited the setting: what
# is read from disk writes no report of its compilation, and some tests read it.
_COMPILED = tempfile.TemporaryDirectory()
os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
jax.config.update("jax_compilation_cache_dir", None)

# f32[B] times f32[B, T] with B == T is the silent bug of this field.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
  """Frees what a module compiled: hundreds of programs fill gigabytes."""
  yield
  jax.clear_caches()
