"""What a side that computes with JAX tells of its device."""

import jax


def told(device: jax.Device) -> dict[str, object]:
  """Its name, and the most memory held so far; None where unknown."""
  peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
  return {
    "device": device.device_kind,
    "peak_device_mib": peak / 2**20 if peak else None,
  }
