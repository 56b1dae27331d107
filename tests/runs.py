"""Programs of the library as a user starts them, and what they leave."""

import json
import os

from rlvr_jax import workdir


def environment(cache: str, devices: int = 1) -> dict[str, str]:
  """Of a program that keeps all that it compiles in `cache`."""
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    # Compiles as quick as in the rest of the suite.
    "XLA_FLAGS": "--xla_backend_optimization_level=0"
    f" --xla_force_host_platform_device_count={devices}",
    "JAX_COMPILATION_CACHE_DIR": cache,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }


def lines(folder, name=workdir.METRICS) -> list[dict]:
  """A run's figures by step, or another file of lines."""
  text = (folder / name).read_text()
  return [json.loads(line) for line in text.splitlines()]
