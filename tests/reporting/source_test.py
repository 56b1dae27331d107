"""A run's files, as far as it has got."""

import pytest

from rlvr_jax import errors
from rlvr_jax.reporting import source
from tests import made_run


def test_how_far_a_run_has_got(tmp_path):
  states = {
    last: source.state(source.read(made_run.make(tmp_path / str(last), last)))
    for last in (-1, 0, 3, 6)
  }
  assert states == {
    -1: "no step yet",
    0: "step 0 of 6 so far",
    3: "step 3 of 6 so far",
    6: "finished, 6 steps",
  }


def test_the_method_is_what_the_config_names():
  found = source.method(made_run.CONFIG)
  assert found == "grpo_advantages, reversed_teacher, ppo_clip"
  assert source.method({}) == ""


def test_runs_of_one_name_are_numbered(tmp_path):
  first = source.read(made_run.make(tmp_path / "a" / "run"))
  second = source.read(made_run.make(tmp_path / "b" / "run"))
  assert list(source.named([first, second])) == ["run", "run (2)"]


def test_the_doctor_waits_for_a_step(tmp_path):
  found = source.read(made_run.make(tmp_path / "run", 0))
  assert source.diagnoses(found) is None
  assert source.summary(found)["steps"] == 0


def test_a_folder_without_a_run_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match="holds no run"):
    source.read(tmp_path)
