"""The TPU kernels compile for real chips, which no chip is needed for."""

import json
import os
import subprocess
import sys

import pytest

# In a process of its own: the variables count before jax is imported.
_PROGRAM = """
import json
import sys

import jax
from jax.experimental import topologies
import jax.numpy as jnp

from kernels.token_logprobs import pallas_tpu

name, rows, width, vocab, dtype = json.loads(sys.argv[1])
topology = topologies.get_topology_desc(platform="tpu", topology_name=name)
place = jax.sharding.SingleDeviceSharding(topology.devices[0])
array = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=place)
inputs = (
  array((rows, width), dtype),
  array((width, vocab), dtype),
  array((rows,), "int32"),
)


def forward(*inputs):
  return pallas_tpu.token_logprobs(*inputs, jnp.float32(0.7))


def total(*inputs):
  return sum(map(jnp.sum, forward(*inputs)))


found = []
for function in (forward, jax.value_and_grad(total, argnums=(0, 1))):
  compiled = jax.jit(function).lower(*inputs).compile()
  found.append(
    (
      compiled.as_text().count("tpu_custom_call"),
      compiled.memory_analysis().temp_size_in_bytes,
    )
  )
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  "topology, shape",
  [
    ("v5e:2x2", (2048, 1024, 151936, "bfloat16")),
    ("v6e:2x2", (2048, 1024, 151936, "bfloat16")),
    ("v5e:2x2", (1000, 5120, 32000, "bfloat16")),
    ("v5e:2x2", (3000, 896, 32000, "float32")),
  ],
)
def test_kernels_compile_and_hold_no_full_logits(topology, shape):
  pytest.importorskip("libtpu")
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, json.dumps([topology, *shape])],
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "TPU_SKIP_MDS_QUERY": "1",
      "TPU_WORKER_HOSTNAMES": "localhost",
      "XLA_FLAGS": "",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  rows, _, vocab, _ = shape
  (forward, gradient) = json.loads(done.stdout.splitlines()[-1])
  for calls, temporary in (forward, gradient):
    assert calls >= 1
    assert temporary < rows * vocab * 4 / 2
