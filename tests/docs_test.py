"""What the docs show runs, and the commands they name can be typed.

A python block that begins with the name of a file is written there; others run
one after another, in a folder that has those files.
"""

import importlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_DOCS = sorted(path.name for path in (_ROOT / "docs").glob("*.md"))
_EACH = pytest.mark.parametrize("name", [*_DOCS, "README.md"])
# Modules that define flags for others.
_SHARED = ("cluster", "soundness/determinism", "launch")
_MADE = ("surprise",)


def _text(name):
  folder = _ROOT if name == "README.md" else _ROOT / "docs"
  return (folder / name).read_text()


def _blocks(name, language):
  # All of them, so that the end of one is not taken for the start of another.
  blocks = re.findall(r"^```(\w*)\n(.*?)^```$", _text(name), re.S | re.M)
  return [text for found, text in blocks if found == language]


def _commands(name):
  """Arguments of every `python -m` of a document, inline ones included."""
  blocks = "".join(_blocks(name, "")).replace("\\\n", " ")
  inline = re.findall(r"(?<!`)`(python -m [^`]+)`", _text(name))
  for line in [*blocks.splitlines(), *inline]:
    if line.startswith("python -m "):
      yield shlex.split(line.replace("...", ""), comments=True)[2:]


def _flags(module):
  """What may be a flag of a program: it is written out where it is defined."""
  path = _ROOT.joinpath(*module.split(".")).with_suffix(".py")
  paths = [path, *(_ROOT / "rlvr_jax" / f"{name}.py" for name in _SHARED)]
  sources = "".join(path.read_text() for path in paths)
  return set(re.findall(r'"(?:--)?([\w-]+)"', sources))


@_EACH
def test_files_that_it_names_exist(name):
  folders = "rlvr_jax|experiments|tests|kernels|benchmarks|docs"
  for path in re.findall(rf"(?<![\w/])(?:{folders})/[\w/]+\.\w+", _text(name)):
    written = any(f"# {path}\n" in block for block in _blocks(name, "python"))
    made = pathlib.Path(path).stem in (*_MADE, "NAME")
    assert written or made or (_ROOT / path).exists(), path


@_EACH
def test_links_lead_somewhere(name):
  folder = _ROOT if name == "README.md" else _ROOT / "docs"
  for target in re.findall(r"\]\(([^)#]+)\)", _text(name)):
    assert target.startswith("https://") or (folder / target).exists(), target


@_EACH
def test_commands_have_flags_that_their_programs_know(name):
  for module, *arguments in _commands(name):
    path = _ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert path.exists(), module
    for argument in arguments:
      if argument.startswith("--") and not argument.startswith("--config."):
        flag = argument[2:].partition("=")[0]
        assert flag in _flags(module), (module, argument)


@_EACH
def test_overrides_are_settings_of_their_experiment(name):
  for _, *arguments in _commands(name):
    given = [x for x in arguments if x.startswith("--config=")]
    if not given or any(stem in given[0] for stem in _MADE):
      continue
    file, _, variant = given[0].removeprefix("--config=").partition(":")
    module = importlib.import_module(f"experiments.{pathlib.Path(file).stem}")
    config = module.get_config(variant).to_dict()
    for argument in arguments:
      if argument.startswith("--config."):
        block = config
        for key in argument.removeprefix("--config.").split("=")[0].split("."):
          assert key in block, (given[0], argument)
          block = block[key]


def _write_files(name, folder):
  """Writes the blocks that begin with a file's name; returns the others."""
  rest = []
  for block in _blocks(name, "python"):
    file = re.match(r"# ([\w/]+\.py)\n", block)
    if not file:
      rest.append(block)
      continue
    path = folder / file[1]
    path.parent.mkdir(exist_ok=True)
    path.write_text(block)
  return rest


def _run(folder, *command):
  """Python in a folder whose modules come first."""
  found = os.pathsep.join([str(folder), str(_ROOT)])
  done = subprocess.run(
    [sys.executable, *command],
    capture_output=True,
    text=True,
    check=False,
    cwd=folder,
    env=os.environ | {"PYTHONPATH": found},
    timeout=300,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.mark.parametrize("name", _DOCS)
def test_its_code_runs(name, tmp_path):
  if program := _write_files(name, tmp_path):
    _run(tmp_path, "-c", "\n".join(program))
  for path in tmp_path.glob("*/*_test.py"):
    _run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path))


def test_the_worked_method_is_an_experiment(tmp_path):
  _write_files("add_a_method.md", tmp_path)
  for path in (_ROOT / "experiments").glob("*.py"):
    shutil.copy(path, tmp_path / "experiments")
  said = _run(tmp_path, "-m", "rlvr_jax.methods", "surprise")
  assert "surprise_weights (token_weights)" in said
  assert "strength = 0.5" in said


def test_there_is_something_to_check():
  assert len(_DOCS) >= 5
  for name in _DOCS:
    assert len(_text(name).splitlines()) <= 125, name
  assert sum(len(list(_commands(name))) for name in _DOCS) > 25
