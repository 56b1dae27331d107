"""The catalogue lists every experiment file and every function."""

import pathlib
import subprocess
import sys

import pytest

from rlvr_jax import errors
from rlvr_jax import hooks
from rlvr_jax import methods
from rlvr_jax import names

_STEMS = [path.stem for path in methods.experiment_files()]
_FUNCTIONS = {
  name: hook
  for hook, modules in hooks.ROOMS.items()
  for module in modules
  for name in names.public_functions(module)
}


@pytest.mark.parametrize("stem", _STEMS)
def test_every_file_has_an_entry_with_its_paper_and_its_loss(stem):
  text = methods.entry(pathlib.Path(f"experiments/{stem}.py"))
  assert text.startswith(f"{stem}: ")
  assert "\n  token_loss " in text or "\n  sequence_loss " in text
  assert "\n  paper          https://arxiv.org/abs/" in text
  assert "logprobs" in text.partition("\n  fields ")[2]


def test_a_card_shows_formulas_sources_and_the_values_in_use():
  text = methods.card("grpo")
  assert "A = (r - mean_group(r)) / (std_group(r) + epsilon)" in text
  assert "https://arxiv.org/abs/1707.06347" in text
  # The file's value, not the default of 0.2.
  assert "clip_high = 0.28" in text


def test_a_card_says_who_the_teacher_is():
  text = methods.entry(pathlib.Path("experiments/opsd.py"))
  assert "\n  teacher        sees gold_solution, frozen weights" in text
  assert "\n  teacher " not in methods.entry(
    pathlib.Path("experiments/grpo.py")
  )


@pytest.mark.parametrize("name", sorted(_FUNCTIONS))
def test_every_function_has_a_card(name):
  if name in _STEMS:
    return
  text = methods.card(name)
  assert text.startswith(f"{name} (")
  assert "Neutral setting: " in text
  assert "Args:" not in text and ">>>" not in text


def test_an_unknown_name_is_met_with_the_nearest():
  with pytest.raises(errors.UserError, match="did you mean 'gspo'"):
    methods.card("gspoo")


def test_without_experiments_the_program_says_where_to_start(tmp_path):
  found = subprocess.run(
    [sys.executable, "-m", "rlvr_jax.methods"],
    cwd=tmp_path,
    env={"PYTHONPATH": str(pathlib.Path.cwd()), "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert found.returncode == 2
  assert "holds no experiment files: start from the folder" in found.stderr
