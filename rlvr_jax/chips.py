"""How much memory a program may fill on a TPU."""

# GiB of one device as JAX counts them, by `jax.Device.device_kind`: what the
# compiler of libtpu 0.0.42 calls available where it refuses a larger program.
_MEMORY_GIB = {
  "TPU v4": 15.25,
  "TPU v5 lite": 15.75,
  "TPU v5": 95.74,
  "TPU v6 lite": 31.25,
  "TPU7x": 94.75,
}


def memory_gib(device_kind: str) -> float | None:
  """Memory of a device; None for one that is not in the table.

  Example: memory_gib("TPU v5 lite") == 15.75.
  """
  return _MEMORY_GIB.get(device_kind)
