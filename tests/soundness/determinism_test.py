"""What --deterministic asks for, and what it says."""

import os
import subprocess
import sys

from absl import flags
import pytest

from rlvr_jax.soundness import determinism

_FLAG = "--xla_gpu_deterministic_ops=true"


@pytest.mark.parametrize("given", ["", "--xla_cpu_use_onednn=false", _FLAG])
def test_xla_is_asked_once_and_keeps_what_it_was_told(monkeypatch, given):
  monkeypatch.setenv("XLA_FLAGS", given)
  determinism.choose()
  determinism.choose()
  assert os.environ["XLA_FLAGS"].split().count(_FLAG) == 1
  assert set(given.split()) < set(os.environ["XLA_FLAGS"].split()) | {""}


def test_every_backend_has_a_promise():
  for backend in ("cpu", "gpu", "tpu"):
    assert "the same bytes" in determinism.promise(backend)
  assert "make torture" in determinism.promise("cpu")
  assert "not measured" in determinism.promise("gpu")
  assert "nothing is known" in determinism.promise("abacus")


def test_a_program_without_the_flag_wants_nothing(monkeypatch):
  monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
  assert not determinism.is_wanted()


def test_xla_knows_the_flag():
  done = subprocess.run(
    [sys.executable, "-c", "import jax; print(len(jax.devices()))"],
    env={**os.environ, "XLA_FLAGS": _FLAG, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  # XLA aborts where it does not know one.
  assert done.returncode == 0, done.stderr
