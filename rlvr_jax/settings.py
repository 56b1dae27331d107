"""Blocks of an experiment file as typed records, checked before any compile.

Every room owns a frozen dataclass of its settings; `typed` fills it from a
block, so that an unknown, missing or mistyped key cannot slip through, and no
key can go unread.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import types
from typing import Any, get_args, get_origin, get_type_hints

from rlvr_jax import errors
from rlvr_jax import names


class Problems:
  """What is wrong with a config, gathered so that all is told at once.

  Example: problems = Problems(); with problems.noted(): check(a);
  with problems.noted(): check(b); problems.check().
  """

  def __init__(self):
    self._found: list[str] = []

  @contextlib.contextmanager
  def noted(self) -> Iterator[None]:
    """A block whose mistake is noted, and ends that block alone."""
    try:
      yield
    except errors.UserError as error:
      self._found.extend(error.args)

  def require(self, condition: bool, message: str) -> None:
    """Notes a message unless the condition holds."""
    if not condition:
      self._found.append(message)

  def check(self) -> None:
    """Raises a UserError of everything noted, if there is anything."""
    if self._found:
      # Two blocks may stumble over one mistake.
      raise errors.UserError(*dict.fromkeys(self._found))


def typed(cls: type, block: Mapping[str, Any], path: str) -> Any:
  """An instance of a settings dataclass.

  Args:
    cls: a frozen dataclass of int, float, str, bool, tuple[X, ...] or further
      dataclasses; `X | None` for a block that may be left out.
    block: values by field name.
    path: of the block, for messages, such as "config.rollout".

  Raises:
    errors.UserError: naming every key that is unknown, missing or of the wrong
      type.
  """
  if not isinstance(block, Mapping):
    raise errors.UserError(f"{path} is {block!r}: give a dict of settings")
  problems = Problems()
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for key in block:
    problems.require(
      key in fields,
      f"{path} has no key {key!r}: {names.did_you_mean(str(key), fields)}",
    )
  for name, field in fields.items():
    problems.require(
      name in block
      or field.default is not dataclasses.MISSING
      or field.default_factory is not dataclasses.MISSING,
      f"{path}.{name} is missing: set it",
    )
  hints, values = get_type_hints(cls), {}
  for key in [key for key in block if key in fields]:
    with problems.noted():
      values[key] = _value(hints[key], block[key], f"{path}.{key}")
  problems.check()
  return cls(**values)


def _value(hint: type, value: Any, path: str) -> Any:
  if isinstance(hint, types.UnionType):
    if value is None:
      return None
    hint = get_args(hint)[0]
  if dataclasses.is_dataclass(hint):
    return typed(hint, value, path)
  if get_origin(hint) is tuple and isinstance(value, (tuple, list)):
    (item, _) = get_args(hint)
    return tuple(_value(item, x, f"{path}[{i}]") for i, x in enumerate(value))
  if hint is float and type(value) is int:
    return float(value)
  # `bool` is an `int` to isinstance; here 1 and True are different things.
  if type(value) is not hint:
    raise errors.UserError(
      f"{path} is {value!r}, a {type(value).__name__}:"
      f" it takes a {getattr(hint, '__name__', hint)}"
    )
  return value


def require(condition: bool, message: str) -> None:
  """Raises a UserError with the message unless the condition holds."""
  if not condition:
    raise errors.UserError(message)
