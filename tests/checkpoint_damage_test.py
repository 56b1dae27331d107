"""Damage on disk: named, and never a restore with other values.

Every file of a small checkpoint, damaged in every way; a checkpoint under
another name; and disks that are full.
"""

import functools
import random
import shutil
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import checkpoints
from rlvr_jax import errors
from rlvr_jax import sharding


def _half(file):
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file):
  file.write_bytes(b"")


def _remove(file):
  file.unlink()


def _flip(file):
  data = bytearray(file.read_bytes())
  data[random.Random(str(file.name)).randrange(len(data))] ^= 0xFF
  file.write_bytes(bytes(data))


def _flip_a_bit(file):
  draws = random.Random(f"bit {file.name}")
  data = bytearray(file.read_bytes())
  data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
  file.write_bytes(bytes(data))


_DAMAGES = (_half, _empty, _remove, _flip, _flip_a_bit)
_META = {"complete": True, "total_tokens": 7}


def _state(step):
  key = jax.random.key(step)
  return {
    "params": {"matrix": jax.random.normal(key, (24, 24))},
    "moments": {"matrix": jax.random.uniform(key, (24, 24))},
    "step": jnp.asarray(step, jnp.int32),
  }


@functools.cache
def _like():
  whole = sharding.replicated(sharding.make_mesh(sharding.MeshConfig()))
  state = _state(0)
  return checkpoints.abstract(state, jax.tree.map(lambda _: whole, state))


def _save(folder, *steps, keep=2):
  with checkpoints.Checkpoints(folder, keep=keep) as saved:
    for step in steps:
      saved.save(step, _state(step), _META)


def _restore(folder, step=None):
  """Step, state and meta of the newest checkpoint, as a run opens it."""
  with checkpoints.Checkpoints(folder, keep=2) as saved:
    step = saved.latest_step() if step is None else step
    return step, saved.restore(step, _like()), saved.meta(step)


def _assert_whole(folder, step):
  """The newest checkpoint is this step, bit for bit."""
  found, state, meta = _restore(folder)
  assert (found, meta) == (step, _META)
  assert jax.tree.structure(state) == jax.tree.structure(_state(step))
  jax.tree.map(np.testing.assert_array_equal, state, _state(step))


def _files(folder):
  return sorted(x for x in folder.rglob("*") if x.is_file())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A folder of the checkpoints 1 and 2, to be copied."""
  folder = tmp_path_factory.mktemp("checkpoints") / "whole"
  _save(folder, 1, 2)
  return folder


@pytest.fixture
def folder(whole, tmp_path):
  """A folder of the checkpoints 1 and 2, free to be damaged."""
  return shutil.copytree(whole, tmp_path / "copy")


def test_the_files_are_those_that_a_checkpoint_has(whole):
  names = {str(x.relative_to(whole / "2")) for x in _files(whole / "2")}
  assert {"checksums.json", "meta/metadata", "state/_METADATA"} < names
  assert len(names) > 10


def _refusal(folder, read):
  with (
    checkpoints.Checkpoints(folder, keep=2) as saved,
    pytest.raises(errors.UserError) as caught,
  ):
    assert saved.latest_step() == 2
    read(saved)
  assert "\n" not in str(caught.value)
  return str(caught.value)


_READS = (
  lambda saved: saved.restore(2, _like()),
  lambda saved: saved.restore_part(2, "params", _like()["params"]),
  lambda saved: saved.meta(2),
)


@pytest.mark.parametrize("damage", _DAMAGES)
def test_every_damaged_file_is_refused_by_name(folder, damage):
  for file in _files(folder / "2"):
    original = file.read_bytes()
    damage(file)
    left = {x: x.read_bytes() for x in _files(folder)}
    named = str(file.relative_to(folder / "2"))
    if damage in (_flip, _flip_a_bit) and named == "checksums.json":
      # It may still be read, and then some whole file is taken for damaged.
      named = ""
    for read in _READS:
      message = _refusal(folder, read)
      assert message.startswith(f"checkpoint {folder / '2'} is damaged (file ")
      assert f"(file {named}" in message
      assert message.endswith("move that folder away to go on from step 1")
    # Looking at it has changed nothing.
    assert {x: x.read_bytes() for x in _files(folder)} == left
    file.write_bytes(original)
  _assert_whole(folder, 2)
  # The remedy holds.
  damage(file)
  (folder / "2").rename(folder.parent / "aside")
  _assert_whole(folder, 1)


def test_a_file_too_many_is_named_or_changes_nothing(folder):
  for file in _files(folder / "2"):
    more = file.with_name("more.json")
    more.write_bytes(b'{"more": 1}')
    name = str(more.relative_to(folder / "2"))
    if name.startswith("state/"):
      for read in _READS:
        assert _refusal(folder, read) == (
          f"checkpoint {folder / '2'} holds a file that is none of its own"
          f" ({name}): move that file away to go on"
        )
    else:
      _assert_whole(folder, 2)
    more.unlink()
  _assert_whole(folder, 2)


@pytest.mark.parametrize(
  "damage", [*_DAMAGES, shutil.rmtree], ids=lambda x: x.__name__
)
def test_damage_to_the_older_leaves_the_newest(folder, damage):
  for target in (
    [folder / "1"] if damage is shutil.rmtree else _files(folder / "1")
  ):
    damage(target)
  _assert_whole(folder, 2)
  _save(folder, 3)
  _assert_whole(folder, 3)


def test_the_only_one_is_refused_and_kept(tmp_path):
  _save(tmp_path, 1, keep=1)
  (tmp_path / "1" / "checksums.json").unlink()
  left = _files(tmp_path)
  for _ in range(2):
    with pytest.raises(errors.UserError) as caught:
      _restore(tmp_path)
    assert "is damaged (file checksums.json)" in str(caught.value)
    assert str(caught.value).endswith("away to go on from the start")
  assert _files(tmp_path) == left


def test_without_the_newest_folder_the_one_before_is_the_newest(folder):
  shutil.rmtree(folder / "2")
  _assert_whole(folder, 1)
  _save(folder, 2)
  _assert_whole(folder, 2)


def test_without_any_folder_there_is_no_checkpoint(folder):
  shutil.rmtree(folder)
  with checkpoints.Checkpoints(folder, keep=2) as saved:
    assert saved.latest_step() is None


@pytest.mark.parametrize("other", ["5", "0"])
def test_a_checkpoint_under_another_number_is_refused(folder, other):
  (folder / "2").rename(folder / other)
  back = "step 1" if other == "5" else "the start"
  with pytest.raises(errors.UserError) as caught:
    _restore(folder, int(other))
  assert str(caught.value) == (
    f"checkpoint {folder / other} is that of step 2 under another name: move"
    f" that folder away to go on from {back}"
  )


def test_a_checkpoint_in_the_place_of_another_is_refused(folder):
  shutil.rmtree(folder / "2")
  shutil.copytree(folder / "1", folder / "2")
  with pytest.raises(errors.UserError, match="is that of step 1 under another"):
    _restore(folder)


@pytest.mark.parametrize("other", ["2.bad", "old", "2_copy"])
def test_a_checkpoint_moved_aside_does_not_count(folder, other):
  (folder / "2").rename(folder / other)
  _assert_whole(folder, 1)
  _save(folder, 2)
  _assert_whole(folder, 2)


def test_checkpoints_from_before_steps_were_noted_are_read(folder):
  file = folder / "2" / "checksums.json"
  lines = file.read_text().splitlines(keepends=True)
  file.write_text("".join(x for x in lines if '"step"' not in x))
  assert "step" not in file.read_text()
  _assert_whole(folder, 2)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"99"])
def test_a_damaged_note_of_what_is_saved_hides_nothing(folder, content):
  (folder / "saving.json").write_bytes(content)
  _assert_whole(folder, 2)
  _save(folder, 3)
  _assert_whole(folder, 3)
  assert not (folder / "saving.json").exists()


def test_what_a_kill_cut_off_is_passed_over_and_written_anew(folder):
  (folder / "2" / "checksums.json").unlink()
  (folder / "saving.json").write_text("2")
  before = _files(folder)
  _assert_whole(folder, 1)
  # By reading, nothing goes: a run may be about to finish it.
  assert _files(folder) == before
  _save(folder, 2)
  _assert_whole(folder, 2)


def test_a_kill_never_leaves_less_than_was_there(tmp_path, monkeypatch):
  # With one checkpoint kept, the one before goes only after the next counts.
  _save(tmp_path, 1, keep=1)

  def killed(folder):
    raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(checkpoints, "_checksums", killed)
    with pytest.raises(KeyboardInterrupt):
      _save(tmp_path, 2, keep=1)
  _assert_whole(tmp_path, 1)
  _save(tmp_path, 2, keep=1)
  _assert_whole(tmp_path, 2)
  assert [x.name for x in tmp_path.iterdir()] == ["2"]


# Files cannot grow past so many bytes: the note, Orbax's own files, those that
# TensorStore writes, and the checksums, one after another, do not fit.
_LIMITS = (0, 10, 90, 250, 500, 1000, 2000)
_SAVE_IN_LITTLE_SPACE = """
  import pathlib
  import resource
  import sys

  from rlvr_jax import checkpoints
  from rlvr_jax import errors
  from tests import checkpoint_damage_test as damage

  folder, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2])
  with checkpoints.Checkpoints(folder, keep=1) as saved:
    limits = (limit, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    try:
      saved.save(3, damage._state(3), {})
    except errors.UserError as error:
      sys.exit(f"refused: {error}")
"""


def _in_a_child(program, *arguments):
  return subprocess.run(
    [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


def _assert_told(said, folder, why):
  start = f"checkpoint 3 could not be written to {folder} ("
  assert start in said
  assert why in said
  assert said.endswith(
    "): free some space or choose another --workdir; earlier checkpoints are"
    " untouched"
  )
  assert len(said) < len(start) + 400


@pytest.mark.parametrize(
  "limit",
  [
    limit if limit == 500 else pytest.param(limit, marks=pytest.mark.slow)
    for limit in _LIMITS
  ],
)
def test_files_that_cannot_grow_are_told_of(folder, limit):
  done = _in_a_child(_SAVE_IN_LITTLE_SPACE, folder, limit)
  assert done.returncode == 1, done.stderr
  # Orbax's threads may have more to say after it.
  (said,) = [x for x in done.stderr.splitlines() if x.startswith("refused: ")]
  _assert_told(said, folder, "File too large")
  _assert_whole(folder, 2)
  # With the space back, a later start saves.
  _save(folder, 3)
  _assert_whole(folder, 3)
  assert sorted(x.name for x in folder.iterdir()) == ["2", "3"]


@pytest.fixture
def small_disk(tmp_path):
  """A disk of 256 KiB."""
  disk = tmp_path / "disk"
  disk.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
  try:
    mounted = subprocess.run(mount, capture_output=True, check=False)
  except FileNotFoundError:
    pytest.skip("there is no mount program here")
  if mounted.returncode:
    pytest.skip("mounting a disk takes rights that this user has not")
  yield disk
  subprocess.run(["umount", "--lazy", str(disk)], check=False)


# Bytes that are left: none, and fewer and fewer of what a checkpoint takes.
@pytest.mark.parametrize("free_kib", [0, 4, 16, 32, 48])
def test_a_full_disk_is_told_of(small_disk, free_kib):
  folder = small_disk / "checkpoints"
  _save(folder, 1, keep=1)
  usage = shutil.disk_usage(small_disk)
  filler = small_disk / "filler"
  filler.write_bytes(b"\0" * (usage.free - (free_kib << 10)))
  with pytest.raises(errors.UserError) as caught:
    _save(folder, 3, keep=1)
  _assert_told(str(caught.value), folder, "No space left on device")
  _assert_whole(folder, 1)
  filler.unlink()
  _save(folder, 3, keep=1)
  _assert_whole(folder, 3)


@pytest.mark.slow
def test_no_byte_of_a_file_is_without_guard(folder):
  for file in _files(folder / "2"):
    original = file.read_bytes()
    for place in range(0, len(original), max(1, len(original) // 50)):
      data = bytearray(original)
      data[place] ^= 0xFF
      file.write_bytes(bytes(data))
      assert " is damaged (file " in _refusal(folder, _READS[0])
    file.write_bytes(original)
  _assert_whole(folder, 2)
