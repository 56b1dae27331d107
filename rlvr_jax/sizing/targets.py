"""Devices to compile for that need not be there: TPUs and NVIDIA GPUs."""

import os
import re
from typing import NamedTuple

import jax
from jax.experimental import topologies

from rlvr_jax import errors


class Gpu(NamedTuple):
  """What XLA's compiler asks of a GPU.

  Attributes:
    kind: as the driver names it.
    capability: major and minor number, of what machine code is for.
    cores: streaming multiprocessors.
    lanes: float32 units of each.
    shared_bytes: shared memory of each.
    l2_bytes: cache of all.
    clock_ghz: at most.
    memory_bytes: of the device.
    memory_gb_per_sec: 1e9 bytes.
  """

  kind: str
  capability: tuple[int, int]
  cores: int
  lanes: int
  shared_bytes: int
  l2_bytes: int
  clock_ghz: float
  memory_bytes: int
  memory_gb_per_sec: float


_KIB, _MIB = 2**10, 2**20
_HOPPER = ((9, 0), 132, 128, 228 * _KIB, 50 * _MIB, 1.98)
# Numbers of NVIDIA's data sheets; memory as the driver tells it. [inferred]
# from memory: clocks.
GPUS = {
  "a100": Gpu(
    "NVIDIA A100-SXM4-80GB",
    *((8, 0), 108, 64, 164 * _KIB, 40 * _MIB, 1.41),
    *(81_920 * _MIB, 2039.0),
  ),
  "h100": Gpu("NVIDIA H100 80GB HBM3", *_HOPPER, 81_559 * _MIB, 3350.0),
  "h200": Gpu("NVIDIA H200", *_HOPPER, 143_771 * _MIB, 4800.0),
}
_GPU_TOPOLOGY = re.compile(r"([a-z]+\d+)(?::(?:(\d+)x)?(\d+))?$")
_EXAMPLES = "v5e:4x4, v6e:8x8, v5p:4x4x4 or tpu7x:2x2x1, h100:8 or h200:4x8"


def devices_of(topology: str) -> list[jax.Device]:
  """The devices of a topology's name.

  Args:
    topology: of TPUs a generation and its chips along each axis, v5e:4x4; of
      GPUs a kind out of `GPUS` and how many a host has, h100:8, with several
      hosts h100:4x8.

  Raises:
    errors.UserError: if there is no such topology, or no compiler for it.
  """
  gpus = _of_gpus(topology)
  if gpus:
    shape = f"1x{gpus[2] or 1}x{gpus[3] or 1}"
    return _devices(
      topology,
      'pip install "jax[cuda13]"',
      platform="cuda",
      topology=shape,
      target_config=target_config(GPUS[gpus[1]]),
    )
  # The compiler asks a TPU machine's services for what is not to be found here.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
  # Several may compile at a time: none of them takes a TPU.
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  return _devices(
    topology, 'pip install "jax[tpu]"', platform="tpu", topology_name=topology
  )


def is_of_gpus(topology: str) -> bool:
  """Whether a topology's name is one of GPUs."""
  return bool(_of_gpus(topology))


def _of_gpus(topology: str) -> re.Match | None:
  found = _GPU_TOPOLOGY.match(topology)
  return found if found and found[1] in GPUS else None


def _devices(name: str, install: str, **topology: str) -> list[jax.Device]:
  try:
    found = topologies.get_topology_desc(**topology)
  except Exception as error:
    text = str(error).splitlines()[0]
    missing = ("libtpu", "tpu' backend", "topology not implemented")
    if any(x in text.lower() for x in missing):
      raise errors.UserError(
        f"--topology is {name!r}, but its compiler is missing ({text}):"
        f" {install}"
      ) from error
    raise errors.UserError(
      f"--topology is {name!r}, which the compiler does not know ({text}):"
      " name a generation of TPUs and its chips along each axis, or a GPU out"
      f" of {', '.join(GPUS)} and how many there are, such as {_EXAMPLES}"
    ) from error
  return list(found.devices)


def target_config(gpu: Gpu) -> str:
  """A GPU as XLA's GpuTargetConfigProto in text."""
  major, minor = gpu.capability
  return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: {48 * _KIB}
  shared_memory_per_block_optin: {gpu.shared_bytes - _KIB}
  shared_memory_per_core: {gpu.shared_bytes}
  threads_per_core_limit: 2048
  core_count: {gpu.cores}
  fpus_per_core: {gpu.lanes}
  block_dim_limit_x: {2**31 - 1}
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {int(1e9 * gpu.memory_gb_per_sec)}
  l2_cache_size: {gpu.l2_bytes}
  clock_rate_ghz: {gpu.clock_ghz}
  device_memory_size: {gpu.memory_bytes}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 9 }}
device_description_str: "{gpu.kind}"
"""
