"""What the README shows is there, and its example runs."""

import pathlib
import re

import jax
import numpy as np

_TEXT = pathlib.Path("README.md").read_text()


def test_the_files_it_names_exist():
  names = re.findall(
    r"(?:rlvr_jax|experiments|tests|kernels|benchmarks)/[\w/]+\.\w+", _TEXT
  )
  assert len(names) > 10
  for name in names:
    assert pathlib.Path(name).exists(), name


def test_the_example_runs_and_pushes_towards_the_rewarded():
  (example,) = re.findall(r"```python\n(.*?)```", _TEXT, re.S)
  found = {}
  exec(example, found)
  gradient = found["gradient"]
  assert isinstance(gradient, jax.Array)
  rewarded = np.asarray(found["rewards"]) > 0
  # Descent raises the log-probs of rewarded rows and lowers the others.
  assert np.all(np.asarray(gradient)[rewarded] < 0)
  assert np.all(np.asarray(gradient)[~rewarded] > 0)


def test_the_commands_it_names_exist():
  for module in set(re.findall(r"python -m ([\w.]+)", _TEXT)):
    assert pathlib.Path(*module.split(".")).with_suffix(".py").exists()
  makefile = pathlib.Path("Makefile").read_text()
  for target in set(re.findall(r"`?make ([\w-]+)", _TEXT)):
    assert f"\n{target}:" in makefile
