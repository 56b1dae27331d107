"""Imports go down only; heavy libraries have one door each."""

import ast
import pathlib
import subprocess
import sys

import pytest

# Module or package -> floor, the longest prefix counts.
_FLOORS = {
  "rlvr_jax": 0,
  "rlvr_jax.binding": 0,
  "rlvr_jax.checks": 0,
  "rlvr_jax.checksums": 0,
  "rlvr_jax.errors": 0,
  "rlvr_jax.hosts": 0,
  "rlvr_jax.keys": 0,
  "rlvr_jax.masked": 0,
  "rlvr_jax.names": 0,
  "rlvr_jax.outcomes": 0,
  "rlvr_jax.records": 0,
  "rlvr_jax.schedules": 0,
  "rlvr_jax.settings": 0,
  "rlvr_jax.kernels": 1,
  "rlvr_jax.ops": 1,
  "rlvr_jax.advantages": 2,
  "rlvr_jax.derived": 2,
  "rlvr_jax.losses": 2,
  "rlvr_jax.metrics": 2,
  "rlvr_jax.models": 2,
  "rlvr_jax.token_weights": 2,
  "rlvr_jax.metrics.curves": 3,
  "rlvr_jax.metrics.progress": 3,
  "rlvr_jax.metrics.ranks": 3,
  "rlvr_jax.metrics.writers": 3,
  "rlvr_jax.checkpoints": 3,
  "rlvr_jax.data": 3,
  "rlvr_jax.optimizers": 3,
  "rlvr_jax.parts": 3,
  "rlvr_jax.rewards": 3,
  "rlvr_jax.rollouts": 3,
  "rlvr_jax.sharding": 3,
  "rlvr_jax.verifiers": 3,
  "rlvr_jax.weights": 3,
  "rlvr_jax.workdir": 3,
  "rlvr_jax.analysis": 4,
  "rlvr_jax.boards": 4,
  "rlvr_jax.collect": 4,
  "rlvr_jax.compilations": 4,
  "rlvr_jax.credit": 4,
  "rlvr_jax.curriculum": 4,
  "rlvr_jax.curriculum_checks": 4,
  "rlvr_jax.diagnosis": 4,
  "rlvr_jax.evaluation": 4,
  "rlvr_jax.experiment": 4,
  "rlvr_jax.gather": 4,
  "rlvr_jax.gradients": 4,
  "rlvr_jax.laboratory": 4,
  "rlvr_jax.hooks": 4,
  "rlvr_jax.objective": 4,
  "rlvr_jax.passes": 4,
  "rlvr_jax.partition_head": 4,
  "rlvr_jax.pieces": 4,
  "rlvr_jax.programs": 4,
  "rlvr_jax.record": 4,
  "rlvr_jax.sizing": 4,
  "rlvr_jax.soundness": 4,
  "rlvr_jax.state": 4,
  "rlvr_jax.summary": 4,
  "rlvr_jax.teaching": 4,
  "rlvr_jax.token_columns": 4,
  "rlvr_jax.tracing": 4,
  "rlvr_jax.update": 4,
  "rlvr_jax.verbalization": 4,
  "rlvr_jax.verification": 4,
  "rlvr_jax.warm_start": 4,
  "rlvr_jax.weights.certificate": 4,
  "rlvr_jax.audit": 5,
  "rlvr_jax.cluster": 5,
  "rlvr_jax.convert": 5,
  "rlvr_jax.copy_experiments": 5,
  "rlvr_jax.soundness.determinism": 5,
  "rlvr_jax.diff": 5,
  "rlvr_jax.doctor": 5,
  "rlvr_jax.laboratory.entries": 5,
  "rlvr_jax.evaluate": 5,
  "rlvr_jax.import_rollouts": 5,
  "rlvr_jax.lab": 5,
  "rlvr_jax.launch": 5,
  "rlvr_jax.methods": 5,
  "rlvr_jax.preflight": 5,
  "rlvr_jax.report": 5,
  "rlvr_jax.reporting": 5,
  "rlvr_jax.train": 5,
}
# Rooms of one floor that know nothing of each other.
_SIBLINGS = (
  "rlvr_jax.advantages",
  "rlvr_jax.derived",
  "rlvr_jax.losses",
  "rlvr_jax.metrics",
  "rlvr_jax.models",
  "rlvr_jax.token_weights",
)
# Library -> the only modules that import it.
_DOORS = {
  "tensorflow_datasets": {"rlvr_jax.data.builders"},
  "orbax": {"rlvr_jax.checkpoints"},
  "rlvr_jax.kernels": {"rlvr_jax.ops"},
  "math_verify": {"rlvr_jax.verifiers.math_answers"},
  "matplotlib": {
    "rlvr_jax.metrics.curves",
    "rlvr_jax.metrics.ranks",
    "rlvr_jax.reporting.charts",
  },
  "jinja2": {"rlvr_jax.data.chat_template"},
  "pyarrow": {"rlvr_jax.data.readers"},
  "safetensors": {"rlvr_jax.weights.files"},
  "sympy": {"rlvr_jax.verifiers.math_answers"},
  "tokenizers": {"rlvr_jax.data.tokenizer"},
  "tensorboardX": {"rlvr_jax.boards"},
  "torch": {"rlvr_jax.weights.certificate"},
  "transformers": {"rlvr_jax.weights.certificate"},
  "wandb": {"rlvr_jax.boards"},
}


def _modules():
  paths = [*pathlib.Path("rlvr_jax").rglob("*.py")]
  for path in sorted(paths):
    parts = path.with_suffix("").parts
    yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(name):
  candidates = [k for k in _FLOORS if f"{name}.".startswith(f"{k}.")]
  return max(candidates, key=len)


def _floor(name):
  return _FLOORS[_room(name)]


def test_every_module_has_a_floor():
  for name, _ in _modules():
    assert name == "rlvr_jax" or _room(name) != "rlvr_jax", name


def test_imports_go_down():
  for name, path in _modules():
    for imported in _imports(path):
      if imported.startswith("rlvr_jax."):
        assert _floor(imported) <= _floor(name), f"{name} imports {imported}"


def test_siblings_do_not_know_each_other():
  for name, path in _modules():
    if _floor(name) != 2 or _room(name) not in _SIBLINGS:
      continue
    for imported in _imports(path):
      other = _room(imported) if imported.startswith("rlvr_jax.") else ""
      assert other not in _SIBLINGS or other == _room(name), (name, imported)


def test_heavy_libraries_have_one_door():
  for name, path in _modules():
    for imported in _imports(path):
      for library, doors in _DOORS.items():
        if imported == library or imported.startswith(library + "."):
          assert name in doors, f"{name} imports {imported}"


def test_kernels_depend_on_jax_alone():
  allowed = (*sys.stdlib_module_names, "jax", "chex")
  for path in pathlib.Path("kernels").rglob("*.py"):
    for imported in _imports(path):
      is_ours = imported.startswith("rlvr_jax.kernels.")
      assert is_ours or imported.split(".")[0] in allowed, (path, imported)


def test_no_module_is_named_like_the_standard_library():
  for name, _ in _modules():
    assert name.split(".")[-1] not in sys.stdlib_module_names, name


@pytest.mark.parametrize(
  "program",
  [
    "from rlvr_jax import losses, advantages, token_weights",
    "from rlvr_jax import objective, credit",
  ],
)
def test_importing_the_math_starts_nothing(program):
  check = (
    f"{program}\n"
    "import sys\n"
    "import jax\n"
    "heavy = ('tensorflow', 'torch', 'orbax', 'tensorflow_datasets',\n"
    "         'matplotlib', 'rlvr_jax.train')\n"
    "assert not [m for m in heavy if m in sys.modules], sys.modules.keys()\n"
    "from jax._src import xla_bridge\n"
    "assert not xla_bridge._backends, 'a device was started'\n"
  )
  subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


def test_importing_the_losses_is_quick():
  program = (
    "import time\n"
    "start = time.perf_counter()\n"
    "from rlvr_jax import losses, advantages\n"
    "print(time.perf_counter() - start)\n"
  )
  # The best of three: another process may hold the cores for a moment.
  secs = min(
    float(
      subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        timeout=60,
      ).stdout
    )
    for _ in range(3)
  )
  assert secs < 3.0
