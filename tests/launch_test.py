"""What every program starts with."""

import os
import subprocess
import sys

import pytest

from rlvr_jax import launch


@pytest.mark.parametrize(
  ("devices", "least"), [("2", 4), ("64", 128), ("", None)]
)
def test_simulated_devices_have_threads(monkeypatch, devices, least):
  flag = f"--xla_force_host_platform_device_count={devices}" if devices else ""
  monkeypatch.setenv("XLA_FLAGS", f"--xla_cpu_use_onednn=false {flag}")
  monkeypatch.delenv("NPROC", raising=False)
  launch._give_simulated_devices_threads()
  if least is None:
    assert "NPROC" not in os.environ
  else:
    assert int(os.environ["NPROC"]) == max(least, os.cpu_count())


def test_a_number_of_threads_that_was_set_stays(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
  monkeypatch.setenv("NPROC", "3")
  launch._give_simulated_devices_threads()
  assert os.environ["NPROC"] == "3"


def test_a_cpu_can_look_like_several_devices():
  program = (
    "from rlvr_jax import launch\n"
    "launch.simulate_devices(3)\n"
    "import jax\n"
    "print(len(jax.devices()))\n"
  )
  environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
    env=environment | {"JAX_PLATFORMS": "cpu"},
  )
  assert done.stdout.strip() == "3"
