"""What a device can hold, compute and send."""

from typing import NamedTuple

from rlvr_jax.sizing import costs as costs_lib


class Chip(NamedTuple):
  """One device as JAX counts them: of TPU7x half a chip, else a whole one.

  Attributes:
    memory_gib: of a TPU what the compiler of libtpu 0.0.42 calls available
      where it refuses a larger program; of a GPU 0.95 of its memory, which JAX
      takes with XLA_PYTHON_CLIENT_MEM_FRACTION=.95 (0.75 unasked).
    tflops: of bfloat16 products, 1e12 a second.
    memory_gb_per_sec: of its memory, 1e9 bytes.
    link_gb_per_sec: received over all its links together, 1e9 bytes; of a GPU
      those within a host.
  """

  memory_gib: float
  tflops: float
  memory_gb_per_sec: float
  link_gb_per_sec: float


# By `jax.Device.device_kind`. Speeds are those of Google's pages on each
# generation (https://docs.cloud.google.com/tpu/docs/v5e and its neighbours);
# where a page counts both directions of the links, half of it. [inferred] from
# memory: the links of v4, memory and links of TPU7x. Those of GPUs are of
# NVIDIA's data sheets, products without sparsity.
CHIPS = {
  "TPU v4": Chip(15.25, 275.0, 1200.0, 300.0),
  "TPU v5 lite": Chip(15.75, 197.0, 819.0, 200.0),
  "TPU v5": Chip(95.74, 459.0, 2765.0, 600.0),
  "TPU v6 lite": Chip(31.25, 918.0, 1638.0, 400.0),
  "TPU7x": Chip(94.75, 1153.5, 3690.0, 300.0),
  "NVIDIA A100-SXM4-80GB": Chip(76.0, 312.0, 2039.0, 300.0),
  "NVIDIA H100 80GB HBM3": Chip(75.6, 989.4, 3350.0, 450.0),
  "NVIDIA H200": Chip(133.4, 989.4, 4800.0, 450.0),
}


def least_secs(chip: Chip, costs: costs_lib.Costs) -> dict[str, float]:
  """Seconds that each part of a program's work takes at the least."""
  sent = sum(costs.transfer_bytes.values())
  return {
    "products": costs.flops / (chip.tflops * 1e12),
    "memory": costs.product_bytes / (chip.memory_gb_per_sec * 1e9),
    "links": sent / (chip.link_gb_per_sec * 1e9),
  }
