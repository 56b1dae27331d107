"""What processes agree on, as far as one process can show it."""

import jax
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import sharding


@pytest.fixture
def joint(monkeypatch):
  """Goes the ways of several processes, of which this is the only one."""
  monkeypatch.setattr(hosts, "are_several", lambda: True)


def _rows(mesh, shape=(16, 3)):
  values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
  return jax.device_put(values, sharding.row_sharding(mesh)), values


def _mesh(**axes):
  return sharding.make_mesh(sharding.MeshConfig(**axes))


def test_one_process_asks_nobody(monkeypatch):
  monkeypatch.setattr(hosts, "_gathered", lambda value: pytest.fail("asked"))
  assert not hosts.are_several()
  assert hosts.is_first()
  assert hosts.any_of(True) and not hosts.any_of(False)
  assert hosts.all_texts("what") == ["what"]
  with pytest.raises(errors.UserError, match="^mine$"), hosts.together():
    raise errors.UserError("mine")


@pytest.mark.parametrize("text", ["", "x", "12345678", "€" * 300])
def test_texts_come_back_whole(joint, text):
  assert hosts.all_texts(text) == [text]


def test_flags_are_asked_for(joint):
  assert hosts.any_of(True)
  assert not hosts.any_of(False)


def test_a_block_passes_its_own_mistake_on(joint):
  with pytest.raises(errors.UserError, match="^mine$"), hosts.together():
    raise errors.UserError("mine")
  with hosts.together():
    pass


def test_a_block_tells_of_another_process_with_its_number(joint, monkeypatch):
  monkeypatch.setattr(hosts, "all_texts", lambda text: [text, "", "theirs"])
  told = pytest.raises(errors.UserError, match="^process 2: theirs$")
  with told, hosts.together():
    pass
  with pytest.raises(errors.UserError, match="^mine$"), hosts.together():
    raise errors.UserError("mine")


def test_a_bug_is_not_told_as_a_mistake(joint):
  with pytest.raises(ZeroDivisionError), hosts.together():
    _ = 1 // 0


def test_the_first_enters_for_all(joint):
  entered = []

  class Context:
    def __enter__(self):
      entered.append("in")

    def __exit__(self, *error):
      entered.append("out")

  with hosts.entered_by_first(Context()):
    assert entered == ["in"]
  assert entered == ["in", "out"]


def test_a_context_that_cannot_be_entered_is_told(joint):
  class Context:
    def __enter__(self):
      raise errors.UserError("in use")

    def __exit__(self, *error):
      pytest.fail("was never entered")

  with (
    pytest.raises(errors.UserError, match="^in use$"),
    hosts.entered_by_first(Context()),
  ):
    pytest.fail("was entered")


# Over the tensor axis each row has two holders, of which one answers for it.
@pytest.mark.parametrize(
  "axes",
  [
    dict(data=8),
    dict(data=2, fsdp=4),
    dict(data=2, tensor=4),
    dict(data=2, fsdp=2, tensor=2),
    dict(tensor=8),
  ],
)
def test_own_rows_come_back_as_one_array(joint, axes):
  mesh = _mesh(**axes)
  rows, values = _rows(mesh)
  own = hosts.own_rows({"x": rows, "y": rows[:, 0]})
  np.testing.assert_array_equal(own.numbers, np.arange(16))
  np.testing.assert_array_equal(own.values["x"], values)
  np.testing.assert_array_equal(own.values["y"], values[:, 0])
  where = sharding.row_sharding(mesh)
  judged = hosts.Rows(own.numbers, own.values["y"])
  back = hosts.from_rows(judged, 16, where)
  assert back.dtype == np.int32
  assert back.sharding == where
  np.testing.assert_array_equal(jax.device_get(back), values[:, 0])


class _Device:
  def __init__(self, process_index):
    self.process_index = process_index


class _Spread:
  """An array's rows over processes, of which the suite has only one."""

  def __init__(self, shape, owners):
    """`owners`: the process of each device, by the rows that it holds."""
    self.shape = shape
    self.sharding = self
    self._places = {
      _Device(process): (slice(start, stop, None),)
      for start, stop, processes in owners
      for process in processes
    }

  def devices_indices_map(self, shape):
    assert shape == self.shape
    return self._places


@pytest.mark.parametrize(
  "owners",
  [
    # Each process has rows of its own.
    [(0, 4, [0]), (4, 8, [0]), (8, 12, [1]), (12, 16, [1])],
    # Every row is on both, in whichever order.
    [(None, None, [1, 0, 0, 1])],
    [(0, 8, [0, 1]), (8, 16, [1, 0])],
    # A process without rows of its own.
    [(0, 8, [0, 2]), (8, 16, [2, 1])],
  ],
)
def test_every_row_has_one_process_that_answers_for_it(monkeypatch, owners):
  answered = []
  for process in range(3):
    monkeypatch.setattr(jax, "process_index", lambda process=process: process)
    for part in hosts._answered_for(_Spread((16, 2), owners)):
      answered += range(part.start, part.stop)
  assert sorted(answered) == list(range(16))


def test_a_process_without_rows_has_empty_ones():
  rows, _ = _rows(_mesh(data=8))
  assert hosts._parts_of(rows, []).shape == (0, 3)


@pytest.mark.parametrize("several", [True, False])
def test_arrays_are_put_and_read_whole(monkeypatch, several):
  monkeypatch.setattr(hosts, "are_several", lambda: several)
  mesh = _mesh(data=2, fsdp=2, tensor=2)
  tree = {
    "x": np.arange(24.0, dtype=np.float32).reshape(8, 3),
    "n": np.int32(7),
  }
  with jax.transfer_guard("disallow"):
    whole = hosts.put(tree, sharding.replicated(mesh))
  assert whole["x"].sharding.is_fully_replicated
  rows = hosts.put(tree["x"], sharding.row_sharding(mesh))
  assert {x.data.shape for x in rows.addressable_shards} == {(2, 3)}
  read = hosts.whole(whole | {"rows": rows})
  np.testing.assert_array_equal(read["x"], tree["x"])
  np.testing.assert_array_equal(read["rows"], tree["x"])
  assert read["n"] == 7
