"""The README's examples run; its files and commands: see docs_test."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages

_TEXT = pathlib.Path("README.md").read_text()


def _examples():
  """Runs all examples one after another, as a reader would."""
  found = {}
  for example in re.findall(r"```python\n(.*?)```", _TEXT, re.S):
    exec(example, found)
  return found


def test_the_first_example_pushes_towards_the_rewarded():
  found = _examples()
  gradient = found["gradient"]
  assert isinstance(gradient, jax.Array)
  rewarded = np.asarray(found["rewards"]) > 0
  # Descent raises the log-probs of rewarded rows and lowers the others.
  assert np.all(np.asarray(gradient)[rewarded] < 0)
  assert np.all(np.asarray(gradient)[~rewarded] > 0)


def test_the_second_example_keeps_half_of_the_tokens():
  found = _examples()
  assert np.isfinite(found["value"])
  assert found["terms"]["policy"].count == 24


def test_the_error_it_quotes_is_the_one_that_is_raised():
  rewards = jnp.array([0.0, 1.0, 1.0, jnp.nan])
  with pytest.raises(ValueError) as caught:
    advantages.dr_grpo_advantages(
      rewards=rewards, group_ids=jnp.array([0, 0, 1, 1]), valid=jnp.ones(4)
    )
  assert f"`{caught.value}`" in _TEXT


def test_its_table_names_every_experiment_file():
  for path in pathlib.Path("experiments").glob("*.py"):
    if path.stem not in ("__init__", "common"):
      assert f"`experiments/{path.name}`" in _TEXT, path


def test_the_makefile_has_its_targets():
  makefile = pathlib.Path("Makefile").read_text()
  found = set(re.findall(r"`?make ([\w-]+)", _TEXT))
  assert found >= {"demo", "test"}
  for target in found:
    assert f"\n{target}:" in makefile
