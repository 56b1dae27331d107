"""What is installed: a wheel that runs where no source tree is."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_SOURCES = (
  "LICENSE", "README.md", "experiments", "kernels", "pyproject.toml",
  "requirements.txt", "rlvr_jax", "setup.py",
)  # fmt: skip
_RUN = """
import pathlib
import jax.numpy as jnp
import rlvr_jax
from rlvr_jax import losses
from rlvr_jax import ops

here = pathlib.Path("site").resolve()
assert pathlib.Path(rlvr_jax.__file__).is_relative_to(here)
assert losses.reinforce(
  logprobs=-jnp.ones((1, 2)), token_advantages=jnp.ones((1, 2))
).shape == (1, 2)
found = ops.token_logprobs(
  jnp.ones((2, 4)), jnp.ones((4, 8)), jnp.zeros(2, jnp.int32),
  temperature=jnp.float32(1.0),
)
assert found.logprobs.shape == (2,)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
  """Built from a copy: a build leaves its own files in the source tree."""
  folder = tmp_path_factory.mktemp("packaging")
  copy = folder / "source"
  copy.mkdir()
  for name in _SOURCES:
    source = _ROOT / name
    if source.is_dir():
      unwanted = shutil.ignore_patterns("__pycache__")
      shutil.copytree(source, copy / name, ignore=unwanted)
    else:
      shutil.copy(source, copy)
  subprocess.run(
    [sys.executable, "-m", "pip", "wheel", ".", "--no-deps"]
    + ["--no-build-isolation", "--quiet", f"--wheel-dir={folder}"],
    check=True,
    cwd=copy,
    timeout=300,
  )
  (built,) = folder.glob("*.whl")
  return built


@pytest.fixture(scope="module")
def site(wheel) -> pathlib.Path:
  """The wheel's content beside a package `kernels` as PyPI has one."""
  folder = wheel.parent / "site"
  with zipfile.ZipFile(wheel) as file:
    file.extractall(folder)
  (folder / "kernels").mkdir()
  (folder / "kernels" / "__init__.py").write_text('raise ImportError("theirs")')
  return folder


def _run(site, *program):
  return subprocess.run(
    [sys.executable, *program],
    capture_output=True,
    text=True,
    check=False,
    cwd=site.parent,
    env=os.environ | {"PYTHONPATH": str(site)},
    timeout=600,
  )


def test_a_wheel_holds_the_package_and_nothing_beside_it(wheel):
  with zipfile.ZipFile(wheel) as file:
    names = set(file.namelist())
    kernels = file.read("rlvr_jax/kernels/__init__.py").decode()
  tops = {name.split("/")[0] for name in names}
  assert {x for x in tops if not x.endswith(".dist-info")} == {"rlvr_jax"}
  assert any(name.endswith("licenses/LICENSE") for name in names)
  # Not the file that stands for the folder in a clone.
  assert kernels == (_ROOT / "kernels" / "__init__.py").read_text()


def test_a_wheel_lacks_no_file(wheel):
  with zipfile.ZipFile(wheel) as file:
    names = set(file.namelist())
  places = {"rlvr_jax": "rlvr_jax", "kernels": "rlvr_jax/kernels"}
  places |= {"experiments": "rlvr_jax/experiments"}
  for folder, place in places.items():
    for path in (_ROOT / folder).rglob("*"):
      inside = path.relative_to(_ROOT / folder)
      if path.is_dir() or {"__pycache__", "colab"} & {*inside.parts}:
        continue
      assert f"{place}/{inside.as_posix()}" in names, path
  assert "rlvr_jax/py.typed" in names


def test_an_installed_package_needs_no_clone(site):
  done = _run(site, "-c", _RUN)
  assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_installed_package_trains(site):
  config = "--config=experiments/grpo.py:tiny"
  train = ("-m", "rlvr_jax.train", config, "--workdir=runs/a")
  missing = _run(site, *train)
  assert missing.returncode == 2
  assert "`python -m rlvr_jax.copy_experiments` writes it" in missing.stderr
  assert _run(site, "-m", "rlvr_jax.copy_experiments").returncode == 0
  done = _run(
    site,
    *train,
    "--config.num_steps=2",
    "--config.warm_start.num_steps=2",
    "--config.evaluation.num_prompts=32",
  )
  assert done.returncode == 0, done.stderr
  assert (site.parent / "runs" / "a" / "summary.json").exists()


def _public_functions(body, prefix=""):
  for node in body:
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
      yield from _public_functions(node.body, f"{prefix}{node.name}.")
    elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
      yield f"{prefix}{node.name}", node


# py.typed promises it.
def test_public_functions_are_annotated():
  for path in sorted((_ROOT / "rlvr_jax").rglob("*.py")):
    for name, function in _public_functions(ast.parse(path.read_text()).body):
      taken = function.args
      for argument in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs):
        annotated = argument.annotation or argument.arg in ("self", "cls")
        assert annotated, (path, name, argument.arg)
      assert function.returns, (path, name)
