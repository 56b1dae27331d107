"""The notebooks run from top to bottom, and can be opened in Colab."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import pytest

import rlvr_jax
from tests import runs

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_FOLDER = _ROOT / "experiments" / "colab"
_NAMES = sorted(path.stem for path in _FOLDER.glob("*.ipynb"))
_CACHE = tempfile.TemporaryDirectory()
# The code cells one after another, as a notebook runs them.
_RUN = """
import json
import sys
found = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1]))["cells"]:
  if cell["cell_type"] == "code":
    exec(compile("".join(cell["source"]), cell["id"], "exec"), found)
"""


def _cells(name):
  """Kind and text of each cell."""
  book = json.loads((_FOLDER / f"{name}.ipynb").read_text())
  return [(x["cell_type"], "".join(x["source"])) for x in book["cells"]]


def _execute(name, folder):
  nowhere = "http://127.0.0.1:9"
  done = subprocess.run(
    [sys.executable, "-c", _RUN, _FOLDER / f"{name}.ipynb"],
    capture_output=True,
    text=True,
    check=False,
    cwd=folder,
    timeout=1500,
    env=runs.environment(_CACHE.name)
    | {
      "RLVR_JAX_TINY": "1",
      "MPLBACKEND": "agg",
      "PYTHONPATH": os.pathsep.join([str(folder), str(_ROOT)]),
      # Neither packages nor data from elsewhere.
      "PIP_NO_INDEX": "1",
      "http_proxy": nowhere,
      "https_proxy": nowhere,
    },
  )
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
  return done.stdout


def test_there_are_three():
  assert _NAMES == ["compare", "losses", "qwen3_grpo"]


@pytest.mark.parametrize("name", _NAMES)
def test_a_notebook_is_small_and_has_no_outputs(name):
  text = (_FOLDER / f"{name}.ipynb").read_text()
  book = json.loads(text)
  assert (book["nbformat"], len(text) < 30_000) == (4, True)
  identifiers = [cell["id"] for cell in book["cells"]]
  assert len(identifiers) == len(set(identifiers))
  for cell in book["cells"]:
    if cell["cell_type"] == "code":
      assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("name", _NAMES)
def test_it_installs_the_version_that_it_is_of(name):
  settings = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]
  repository = settings["rlvr_jax"]["repository"]
  revision = f"v{rlvr_jax.__version__}"
  (first, badge), (second, install) = _cells(name)[:2]
  assert (first, second) == ("markdown", "code")
  place = f"{repository}/blob/{revision}/experiments/colab/{name}.ipynb"
  assert f"(https://colab.research.google.com/github/{place})" in badge
  line = f'REPOSITORY, REVISION, EXTRAS = "{repository}", "{revision}", '
  found = re.search(re.escape(line) + r'"(?:\[([\w,]+)\])?"', install)
  extras = _extras()
  assert {*filter(None, (found[1] or "").split(","))} <= extras
  # No cell below installs anything.
  assert all("pip" not in text for _, text in _cells(name)[2:])


def _extras():
  project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
  return {*project["optional-dependencies"]}


@pytest.mark.parametrize("name", _NAMES)
def test_code_keeps_to_the_width_of_a_cell(name):
  for kind, text in _cells(name):
    if kind == "code":
      assert max(map(len, text.splitlines())) <= 80, text


def test_the_losses_learn_in_a_loop_of_ones_own(tmp_path):
  said = _execute("losses", tmp_path)
  first, last = map(float, re.findall(r"reward ([\d.]+) -> ([\d.]+)", said)[0])
  assert last > first + 0.1


@pytest.mark.slow
def test_the_comparison_ends_in_a_table(tmp_path):
  said = _execute("compare", tmp_path)
  for method in ("grpo", "rlrt", "paced_rl"):
    assert re.search(rf"^\| {method} \|", said, re.M)


@pytest.mark.slow
def test_a_checkpoint_is_trained_and_written_back(tmp_path):
  _execute("qwen3_grpo", tmp_path)
  assert (tmp_path / "runs" / "qwen3" / "report.html").exists()
  assert (tmp_path / "trained" / "certificate.json").exists()
