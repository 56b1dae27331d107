"""Typed blocks: every wrong key and value is refused by name."""

import dataclasses

import pytest

from rlvr_jax import errors
from rlvr_jax import settings


@dataclasses.dataclass(frozen=True)
class _Inner:
  rate: float


@dataclasses.dataclass(frozen=True)
class _Block:
  steps: int
  inner: _Inner
  name: str = "a"
  flag: bool = False


def test_a_good_block_is_filled():
  block = settings.typed(_Block, {"steps": 3, "inner": {"rate": 2}}, "config.b")
  assert block == _Block(3, _Inner(2.0))
  assert isinstance(block.inner.rate, float)


@pytest.mark.parametrize(
  "block, start",
  [
    ({"stepz": 1}, "config.b has no key 'stepz': did you mean 'steps'?"),
    ({"inner": {"rate": 1.0}}, "config.b.steps is missing"),
    ({"steps": 1.5, "inner": {"rate": 1.0}}, "config.b.steps is 1.5, a float"),
    ({"steps": True, "inner": {"rate": 1.0}}, "config.b.steps is True, a bool"),
    ({"steps": 1, "inner": 3}, "config.b.inner is 3: give a dict"),
    ({"steps": 1, "inner": {}}, "config.b.inner.rate is missing"),
    ({"steps": 1, "inner": {"rate": "x"}}, "config.b.inner.rate is 'x', a str"),
    (
      {"steps": 1, "inner": {"rate": 1.0}, "flag": 1},
      "config.b.flag is 1, a int: it takes a bool",
    ),
  ],
)
def test_a_bad_block_is_refused_in_one_sentence(block, start):
  with pytest.raises(errors.UserError) as caught:
    settings.typed(_Block, block, "config.b")
  assert caught.value.args[0].startswith(start)
  assert not any("\n" in problem for problem in caught.value.args)


def test_all_that_is_wrong_with_a_block_is_told_at_once():
  with pytest.raises(errors.UserError) as caught:
    settings.typed(_Block, {"stepz": 1, "inner": {"rate": "x"}}, "config.b")
  assert str(caught.value) == (
    "3 settings are wrong:"
    "\n  config.b has no key 'stepz': did you mean 'steps'?"
    " choose one of flag, inner, name, steps"
    "\n  config.b.steps is missing: set it"
    "\n  config.b.inner.rate is 'x', a str: it takes a float"
  )


def test_problems_are_noted_and_told_once():
  problems = settings.Problems()
  problems.check()
  for _ in range(2):
    with problems.noted():
      raise errors.UserError("the same")
  problems.require(True, "fine")
  problems.require(False, "another")
  with pytest.raises(errors.UserError) as caught:
    problems.check()
  assert caught.value.args == ("the same", "another")


def test_require_raises_its_message():
  settings.require(True, "no")
  with pytest.raises(errors.UserError, match="no"):
    settings.require(False, "no")


@dataclasses.dataclass(frozen=True)
class _Many:
  names: tuple[str, ...] = ()


def test_a_tuple_is_typed_item_by_item():
  assert settings.typed(_Many, {"names": ["a", "b"]}, "x").names == ("a", "b")
  with pytest.raises(errors.UserError, match=r"x.names\[1\] is 2, a int"):
    settings.typed(_Many, {"names": ("a", 2)}, "x")
  with pytest.raises(errors.UserError, match="x.names is 'a', a str"):
    settings.typed(_Many, {"names": "a"}, "x")
