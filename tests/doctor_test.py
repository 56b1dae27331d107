"""The doctor on real runs: each fault is named, and nothing else is.

`doctor_faults` has the faults; the runs are processes of their own, since a bug
is put in the place of a function.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import pytest

from rlvr_jax import workdir
from rlvr_jax.diagnosis import table
from tests import doctor_faults
from tests import runs

# Programs that one of the runs compiled serve all others.
_CACHE = tempfile.TemporaryDirectory()
# These begin with weights of their own.
_FRESH = ("all_wrong_groups", "length_explosion", *doctor_faults.QUICK)
# Short runs of other methods, in which nothing is wrong.
_HEALTHY = ("grpo", "dapo", "rlrt", "paced_rl")


def _train(fault, folder: pathlib.Path, warm=None) -> pathlib.Path:
  """The folder of a run with a fault."""
  program = [
    *("-m", "tests.doctor_faults"),
    f"--config=tests/doctor_faults.py:{fault}",
    f"--workdir={folder}",
  ]
  if fault not in _FRESH and warm:
    program.append(f"--config.warm_start.source={warm}")
  done = runs.run(program, _CACHE.name, devices=1, timeout=600)
  assert done.returncode == 0, done.stderr
  return folder


def _doctor(*arguments):
  program = ["-m", "rlvr_jax.doctor", *arguments]
  done = runs.run(program, _CACHE.name, devices=1, timeout=120)
  return done.returncode, done.stdout, done.stderr


def _diagnoses(folder) -> list[str]:
  code, out, err = _doctor(f"--workdir={folder}", "--json")
  names = [found["name"] for found in json.loads(out)["diagnoses"]]
  assert (code, err) == (1 if names else 0, "")
  return names


def _contents(folder):
  """Every file of a folder with what would change if it were written."""
  return {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for path in folder.rglob("*")
  }


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
  """A run of seconds in which nothing is wrong."""
  return _train("quick", tmp_path_factory.mktemp("quick") / "run")


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
  """A healthy run; the others begin with its imitated policy."""
  return _train("grpo", tmp_path_factory.mktemp("warm") / "grpo")


def test_a_healthy_run_has_nothing_and_is_left_alone(quick):
  before = _contents(quick)
  code, out, err = _doctor(f"--workdir={quick}")
  assert (code, err) == (0, "")
  assert out == (
    f"nothing found in 12 steps, of {len(table.TABLE)} causes known\n"
  )
  assert _contents(quick) == before


def test_a_fault_is_told_with_evidence_and_knobs(quick, tmp_path):
  del quick  # Whose programs this run takes from disk.
  folder = _train("quick_recompiles", tmp_path / "run")
  code, out, err = _doctor(f"--workdir={folder}")
  assert (code, err) == (1, "")
  assert out.startswith("1 found in 12 steps")
  for part in (
    "1. recompiles: ",
    "evidence  10 of the steps after step 2 compiled something",
    "turn      config.data.verifier (is 'tests.testing:low_first_token",
    "or else",
  ):
    assert part in out, out
  assert _diagnoses(folder) == ["recompiles"]


def test_a_run_that_died_in_the_middle_of_a_line(quick, tmp_path):
  folder = tmp_path / "died"
  shutil.copytree(quick, folder)
  path = folder / workdir.METRICS
  path.write_bytes(path.read_bytes()[:-30])
  (folder / workdir.TIMING).unlink()
  code, out, err = _doctor(f"--workdir={folder}")
  assert (code, err) == (0, "")
  assert out.startswith("nothing found in 11 steps")


def test_a_folder_without_a_run_is_one_sentence(quick, tmp_path):
  code, out, err = _doctor(f"--workdir={tmp_path}")
  assert (code, out) == (2, "")
  assert err.startswith(f"error: --workdir {tmp_path} holds no run")
  shutil.copy(quick / workdir.CONFIG, tmp_path)
  code, out, err = _doctor(f"--workdir={tmp_path}")
  assert (code, out) == (2, "")
  assert err.startswith(f"error: --workdir {tmp_path} has no step")


def test_every_diagnosis_has_a_fault():
  assert set(doctor_faults.FAULTS) == set(table.NAMES)


@pytest.mark.slow
def test_every_fault_is_diagnosed_and_nothing_else_is(warm, tmp_path):
  found = {
    fault: _diagnoses(_train(fault, tmp_path / fault, warm))
    for fault in doctor_faults.FAULTS
  }
  print(confusion(found), file=sys.stderr)
  assert found == {fault: [fault] for fault in found}, confusion(found)


@pytest.mark.slow
def test_healthy_runs_of_several_methods_have_nothing(warm, tmp_path):
  found = {"grpo": _diagnoses(warm)}
  for name in _HEALTHY[1:]:
    found[name] = _diagnoses(_train(name, tmp_path / name, warm))
  assert found == dict.fromkeys(_HEALTHY, [])


def confusion(found: dict[str, list[str]]) -> str:
  """Faults as rows, diagnoses as columns, 1 where one is given."""
  width = max(map(len, found))
  rows = [
    f"{fault:>{width}} "
    + " ".join("1" if name in names else "." for name in found)
    for fault, names in found.items()
  ]
  return "\n".join(["", *rows])
