"""The kernels compile for real chips, which no chip is needed for."""

import itertools
import json
import os
import subprocess
import sys

import pytest

from rlvr_jax.sizing import targets
from tests import marks

# In a process of its own: the variables count before jax is imported.
_COMMON = """
import json
import sys

import jax
import jax.numpy as jnp

from rlvr_jax.sizing import targets


def report(function, arguments, gradient_of):
  place = jax.sharding.SingleDeviceSharding(targets.devices_of(name)[0])
  inputs = [jax.ShapeDtypeStruct(*x, sharding=place) for x in arguments]
  total = lambda *x: sum(
    jnp.sum(y.astype(jnp.float32)) for y in jax.tree.leaves(function(*x))
  )
  found = []
  for f in (function, jax.value_and_grad(total, argnums=gradient_of)):
    compiled = jax.jit(f).lower(*inputs).compile()
    found.append(
      (
        compiled.as_text().count(f'custom_call_target="{kernel}'),
        compiled.memory_analysis().temp_size_in_bytes,
      )
    )
  print(json.dumps(found))


kernel, name, *shape = json.loads(sys.argv[1])
"""
_TOKEN_LOGPROBS = """
from rlvr_jax.kernels.token_logprobs import pallas_gpu, pallas_tpu

implementation = pallas_tpu if kernel.startswith("tpu") else pallas_gpu
rows, width, vocab, dtype = shape
report(
  lambda *x: implementation.token_logprobs(*x, jnp.float32(0.7)),
  [((rows, width), dtype), ((width, vocab), dtype), ((rows,), "int32")],
  (0, 1),
)
"""
_ATTENTION = """
from rlvr_jax.kernels.attention import cudnn, splash

implementation = splash if kernel.startswith("tpu") else cudnn
rows, heads, kv_heads, queries, keys, head_dim, window, dtype = shape
kv = ((rows, kv_heads, keys, head_dim), dtype)
report(
  lambda *x: implementation.attention(*x, window),
  [((rows, heads, queries, head_dim), dtype), kv, kv, ((rows, keys), "bool")],
  (0, 1, 2),
)
"""


def _compiled(program, topology, shape):
  """(kernels, temporary bytes) of the forward pass and of the gradient."""
  kernel = "tpu_custom_call"
  if topology in targets.GPUS:
    of_gpus = {_TOKEN_LOGPROBS: "__gpu$xla.gpu.triton", _ATTENTION: "__cudnn$"}
    kernel = of_gpus[program]
  marks.skip_without_compiler(topology)
  done = subprocess.run(
    [
      *(sys.executable, "-c", _COMMON + program),
      json.dumps([kernel, topology, *shape]),
    ],
    env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
  "topology, shape",
  [
    ("v5e:2x2", (2048, 1024, 151936, "bfloat16")),
    ("v6e:2x2", (2048, 1024, 151936, "bfloat16")),
    # What fits the one does not fit the other.
    ("v5p:2x2x1", (2048, 1024, 151936, "bfloat16")),
    ("v4:2x2x1", (3000, 2560, 32000, "bfloat16")),
    ("tpu7x:2x2x1", (8192, 1024, 151936, "bfloat16")),
    ("v5e:2x2", (1000, 5120, 32000, "bfloat16")),
    ("v5e:2x2", (3000, 896, 32000, "float32")),
    ("h100", (2048, 1024, 151936, "bfloat16")),
    ("h200", (3000, 2560, 151936, "bfloat16")),
    ("a100", (3000, 896, 151936, "float32")),
  ],
)
def test_kernels_compile_and_hold_no_full_logits(topology, shape):
  rows, _, vocab, _ = shape
  for calls, temporary in _compiled(_TOKEN_LOGPROBS, topology, shape):
    assert calls >= 1
    assert temporary < rows * vocab * 4 / 2


# Qwen3-0.6B's heads: a prompt of 256, a completion of 1,024.
_SHORT = (8, 16, 8, 1023, 1279, 128, 0, "bfloat16")
# With a sliding window.
_LONG = (2, 32, 8, 8191, 8703, 128, 4096, "bfloat16")
_PLAIN = (8, 14, 2, 511, 700, 64, 0, "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
  "topology, shape",
  [
    *itertools.product(["v5e:2x2", "v6e:2x2"], [_SHORT, _LONG, _PLAIN]),
    *itertools.product(["h100", "a100"], [_SHORT, _LONG]),
  ],
)
def test_attention_compiles_and_holds_no_scores(topology, shape):
  rows, heads, _, queries, keys, *_ = shape
  for calls, temporary in _compiled(_ATTENTION, topology, shape):
    assert calls >= 1
    assert temporary < rows * heads * queries * keys * 4 / 2
