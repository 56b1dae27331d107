"""How much memory a chip has, as its vendor says."""

# GiB of one device as JAX counts them, by the beginning of
# `jax.Device.device_kind`: both cores of a TPU v4 or v5p are one device, those
# of a tpu7x are two.
_MEMORY_GIB = {
  "TPU v4": 32,
  "TPU v5 lite": 16,
  "TPU v5": 95,
  "TPU v6 lite": 32,
  "TPU7x": 96,
  "NVIDIA H100": 80,
  "NVIDIA H200": 141,
}


def memory_gib(device_kind: str) -> int | None:
  """Memory of a device; None for one that is not in the table.

  Example: memory_gib("TPU v5 lite") == 16.
  """
  fitting = [name for name in _MEMORY_GIB if device_kind.startswith(name)]
  return _MEMORY_GIB[max(fitting, key=len)] if fitting else None
