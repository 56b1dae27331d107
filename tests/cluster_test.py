"""Flags that say too little are refused, one sentence each."""

import os
import subprocess
import sys

from absl import flags
import pytest

from rlvr_jax import cluster
from rlvr_jax import errors

# What jax would take for a cluster.
_CLUSTERS = ("SLURM", "OMPI", "TPU", "KUBERNETES", "MEGASCALE")


@pytest.fixture
def given(monkeypatch):
  """Sets the flags, as a command line would."""
  # A program that another test has imported may have defined them.
  ours = "distributed" not in flags.FLAGS
  if ours:
    cluster.define_flags()

  def give(**values):
    for name, value in values.items():
      monkeypatch.setattr(flags.FLAGS[name], "value", value)

  with monkeypatch.context() as monkeypatch:
    yield give
  if ours:
    for name in ("distributed", "num_processes", "process_id"):
      delattr(flags.FLAGS, name)


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(distributed="nonsense"), "--distributed is 'nonsense': set it to"),
    (dict(distributed="host:1"), "--num_processes is None: say how many"),
    (
      dict(distributed="host:1", num_processes=0, process_id=0),
      "--num_processes is 0: say how many",
    ),
    (
      dict(distributed="host:1", num_processes=2),
      "--process_id is None: give each process its own of 0 to 1",
    ),
    (
      dict(distributed="host:1", num_processes=2, process_id=2),
      "--process_id is 2: give each process its own of 0 to 1",
    ),
    (
      dict(distributed="host:1", num_processes=2, process_id=-1),
      "--process_id is -1: give each process its own of 0 to 1",
    ),
    (
      dict(distributed="auto", num_processes=2),
      "go with --distributed=HOST:PORT: leave them out",
    ),
    (
      dict(distributed="auto", process_id=0),
      "go with --distributed=HOST:PORT: leave them out",
    ),
  ],
)
def test_flags_that_do_not_fit_are_refused(given, capsys, values, message):
  given(**values)
  with pytest.raises(errors.UserError) as caught:
    cluster._join()
  assert message in str(caught.value)
  assert cluster._told(caught.value) == cluster.STATUS_USER_ERROR
  err = capsys.readouterr().err
  assert err.startswith("error: ")
  assert err.count("\n") == 1


def test_without_flags_there_is_nothing_to_join(given):
  given(distributed="")
  with cluster.joined():
    pass
  # A mistake is left to the caller, which is to end in its own way.
  with pytest.raises(errors.UserError, match="mine"), cluster.joined():
    raise errors.UserError("mine")


def test_a_lost_process_is_told_with_what_to_do(capsys):
  lost = RuntimeError("Gloo all-reduce failed: Connection closed by peer\nmore")
  assert cluster._told(lost) == cluster.STATUS_LOST
  err = capsys.readouterr().err
  assert err.startswith("error: another process of the run was lost (Gloo")
  assert "start all of them again with the same command" in err
  assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback(capsys):
  try:
    _ = 1 // 0
  except ZeroDivisionError as error:
    assert cluster._told(error) == 1
  assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
  "value, message",
  [
    ("nonsense", "--distributed is 'nonsense': set it to auto, or to"),
    ("auto", "the environment is of no cluster that jax knows"),
  ],
)
def test_the_program_ends_with_status_2(value, message):
  done = subprocess.run(
    [sys.executable, "-m", "rlvr_jax.train", f"--distributed={value}"],
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
    env={k: v for k, v in os.environ.items() if not k.startswith(_CLUSTERS)},
  )
  assert done.returncode == cluster.STATUS_USER_ERROR
  assert done.stderr.startswith("error: ")
  assert done.stderr.count("\n") == 1
  assert message in done.stderr
