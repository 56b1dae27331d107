"""Counts of what is compiled, the refusal of a second time, and the disk."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import compilations
from rlvr_jax import errors


class _Programs(NamedTuple):
  train_step: Any
  absent: Any = None
  size: int = 3


def _watched(**jit_settings):
  watch = compilations.Watch()
  function = jax.jit(lambda state: state["w"] * 2 + 1, **jit_settings)
  return watch, watch.watched(_Programs(function))


def test_what_is_no_function_stays():
  _, programs = _watched()
  assert programs.absent is None
  assert programs.size == 3


def test_a_program_counts_once_however_often_it_is_called():
  watch, programs = _watched()
  x = {"w": np.ones(5, np.float32)}
  for _ in range(3):
    np.testing.assert_array_equal(programs.train_step(x), np.full(5, 3.0))
  first, then = watch.lap(), watch.lap()
  assert first["compile/programs"] == 1
  assert first["compile/secs"] > 0
  assert then == {
    "compile/programs": 0,
    "compile/from_disk": 0,
    "compile/secs": 0,
  }
  assert watch.summary().startswith("compiled 1 programs in ")


def test_what_others_compile_counts_and_is_no_error():
  watch, programs = _watched()
  x = {"w": np.ones(5, np.float32)}
  for step in (1, 2):
    programs.train_step(x)
    jax.jit(lambda y: y - 3)(np.ones(step, np.float32))
    watch.check(step)
  assert watch.lap()["compile/programs"] == 3


def test_other_listeners_still_hear():
  heard = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, secs, **_: heard.append(event)
  )
  _, programs = _watched()
  programs.train_step({"w": np.ones(7, np.float32)})
  assert heard.count("/jax/core/compile/backend_compile_duration") == 1


@pytest.mark.parametrize(
  "again, said",
  [
    (np.ones(6, np.float32), "['w'] was float32[5] and is float32[6]"),
    (np.ones(5, np.int32), "['w'] was float32[5] and is int32[5]"),
    (None, "['w'] was float32[5] and is nothing"),
  ],
)
def test_a_second_time_is_refused_with_what_differs(again, said):
  watch = compilations.Watch()
  add = lambda state: jax.tree.map(lambda x: x + 1, state["v"])
  programs = watch.watched(_Programs(jax.jit(add)))
  v = np.ones(3, np.float32)
  programs.train_step({"w": np.ones(5, np.float32), "v": v})
  watch.check(4)
  programs.train_step({"w": again, "v": v})
  with pytest.raises(errors.UserError) as raised:
    watch.check(5)
  text = str(raised.value)
  assert text.startswith(
    f"step 5 compiled train_step again (argument [0]{said}"
  )
  assert "last checkpoint is untouched" in text
  assert "\n" not in text


def test_a_changed_sharding_of_donated_state_is_told():
  mesh = jax.make_mesh((2,), ("data",))
  spread, whole = (
    jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
    for axes in (("data",), ())
  )
  watch, programs = _watched(donate_argnums=0)
  for step, where in ((1, spread), (2, whole)):
    programs.train_step({"w": jax.device_put(jnp.ones(8), where)})
    if step == 1:
      watch.check(step)
  with pytest.raises(errors.UserError, match="spec="):
    watch.check(2)


def test_first_uses_are_no_error_whenever_they_come():
  watch, programs = _watched()
  # Set-up, with a shape of its own.
  programs.train_step({"w": np.ones(2, np.float32)})
  watch.start()
  watch.check(1)
  # Two shapes within the first step that uses it, such as two test sets.
  for size in (3, 4):
    programs.train_step({"w": np.ones(size, np.float32)})
  watch.check(2)
  for size in (4, 3, 2):
    programs.train_step({"w": np.ones(size, np.float32)})
  watch.check(3)
  programs.train_step({"w": np.ones(5, np.float32)})
  with pytest.raises(errors.UserError, match="step 4 compiled train_step"):
    watch.check(4)


def test_the_folder_is_the_users_choice(monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
  assert compilations.default_folder() == pathlib.Path("/xdg/rlvr_jax/compiled")
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", "/home/of")
  assert compilations.default_folder() == pathlib.Path(
    "/home/of/.cache/rlvr_jax/compiled"
  )


_PROGRAM = """
import json
import jax
from rlvr_jax import compilations, launch

def main():
  watch = compilations.Watch()
  jax.jit(lambda x: x * 2 + 1)(3.0)
  print(json.dumps(watch.lap()))

launch.run(main)
"""


def _start(**environment):
  inherited = {
    k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")
  }
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM],
    env=inherited
    | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    | environment,
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
  )
  return json.loads(done.stdout), done.stderr


def test_the_second_start_finds_everything_on_disk(tmp_path):
  cache = {"XDG_CACHE_HOME": str(tmp_path)}
  (first, err), (second, _) = _start(**cache), _start(**cache)
  assert err == ""
  assert first["compile/from_disk"] == 0
  assert second["compile/programs"] == first["compile/programs"] > 0
  assert second["compile/from_disk"] == second["compile/programs"]
  assert any((tmp_path / "rlvr_jax" / "compiled").iterdir())


@pytest.fixture
def _settings():
  names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
  before = {name: getattr(jax.config, name) for name in names}
  yield
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.usefixtures("_settings")
def test_a_folder_that_cannot_be_written_is_a_note(tmp_path):
  (tmp_path / "file").touch()
  for folder in (str(tmp_path / "file" / "compiled"), "/proc/nowhere"):
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", folder)
    note = compilations.keep_on_disk()
    assert note.startswith(f"note: {folder} cannot be written")
    assert "\n" not in note
    assert not jax.config.jax_enable_compilation_cache


@pytest.mark.usefixtures("_settings")
def test_switched_off_stays_off(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  jax.config.update("jax_compilation_cache_dir", None)
  jax.config.update("jax_enable_compilation_cache", False)
  assert compilations.keep_on_disk() is None
  assert jax.config.jax_compilation_cache_dir is None
  assert not list(tmp_path.iterdir())
