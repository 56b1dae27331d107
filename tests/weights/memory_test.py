"""An import holds its parameters and little more: under a memory limit."""

import json
import os
import resource
import subprocess
import sys

import pytest

_MIB = 2**20
# 193 MiB a file: a layer is 50 MiB, embedding and head 39 each.
_SHAPE = dict(
  vocab_size=20_000,
  num_layers=10,
  width=1024,
  num_heads=16,
  num_kv_heads=16,
  head_dim=64,
  mlp_width=7168,
)
_LIMIT_MIB = 1536
_MAKE = """
import json, sys
import jax
from rlvr_jax import sharding, weights
from rlvr_jax.models import configs, huggingface

config = configs.ModelConfig(**json.loads(sys.argv[2]), scan_layers=True)
mesh = sharding.make_mesh(sharding.MeshConfig())
like = weights.abstract_params(config, mesh, "bfloat16")
params = jax.tree.map(
  lambda x: jax.random.normal(jax.random.key(x.size), x.shape, x.dtype), like
)
weights.write(
  __import__("pathlib").Path(sys.argv[1]),
  params,
  config,
  config_json=huggingface.config_json(config),
  max_shard_bytes=208 * 2**20,
)
"""
_IMPORT = """
import resource, sys
limit = int(sys.argv[3])
# Private memory: the files themselves are mapped, and may be dropped.
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from absl import flags
from rlvr_jax import convert
flags.FLAGS(["convert"])
convert.main("import", sys.argv[1], sys.argv[2])
"""


def _python(code, *arguments):
  return subprocess.run(
    [sys.executable, "-c", code, *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=400,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    check=False,
  )


@pytest.mark.slow
def test_three_files_are_imported_under_a_limit_of_one_and_a_half_gib(tmp_path):
  source, destination = tmp_path / "source", tmp_path / "imported"
  made = _python(_MAKE, source, json.dumps(_SHAPE))
  assert made.returncode == 0, made.stderr
  sizes = [x.stat().st_size / _MIB for x in source.glob("*.safetensors")]
  assert len(sizes) == 3
  assert max(sizes) < _LIMIT_MIB
  done = _python(_IMPORT, source, destination, _LIMIT_MIB * _MIB)
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
  print(f"files {[round(x) for x in sizes]} MiB, limit {_LIMIT_MIB} MiB of")
  print(f"private memory, peak resident {peak:.0f} MiB of either process")
  assert done.returncode == 0, done.stderr
  assert (destination / "weights").is_dir()
