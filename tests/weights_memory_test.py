"""An import under a memory limit that one copy too many would break."""

import json
import os
import resource
import subprocess
import sys

import pytest

_MIB = 2**20
# 318 MiB a file: one decoder layer is 50 MiB, embedding and head 39 each.
_SHAPE = dict(
  vocab_size=20_000,
  num_layers=17,
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
  max_shard_bytes=330 * 2**20,
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
def test_an_import_holds_the_parameters_and_little_more(tmp_path):
  source, destination = tmp_path / "source", tmp_path / "imported"
  made = _python(_MAKE, source, json.dumps(_SHAPE))
  assert made.returncode == 0, made.stderr
  sizes = [x.stat().st_size / _MIB for x in source.glob("*.safetensors")]
  assert len(sizes) == 3
  assert max(sizes) < _LIMIT_MIB
  # The parameters and the files' bytes together would not fit.
  assert 2 * sum(sizes) > _LIMIT_MIB
  done = _python(_IMPORT, source, destination, _LIMIT_MIB * _MIB)
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
  print(f"files {[round(x) for x in sizes]} MiB, limit {_LIMIT_MIB} MiB of")
  print(f"private memory, peak resident {peak:.0f} MiB of either process")
  assert done.returncode == 0, done.stderr
  assert (destination / "weights").is_dir()
