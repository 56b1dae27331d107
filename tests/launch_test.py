"""What every program starts with."""

import os

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
