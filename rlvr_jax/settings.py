"""Blocks of an experiment file as typed records, checked before any compile.

Every room owns a frozen dataclass of its settings; `typed` fills it from a
block, so that an unknown, missing or mistyped key cannot slip through, and no
key can go unread.
"""

from collections.abc import Mapping
import dataclasses
import types
from typing import Any, get_args, get_origin, get_type_hints

from rlvr_jax import errors
from rlvr_jax import names


def typed(cls: type, block: Mapping[str, Any], path: str) -> Any:
  """An instance of a settings dataclass.

  Args:
    cls: a frozen dataclass of int, float, str, bool, tuple[X, ...] or further
      dataclasses; `X | None` for a block that may be left out.
    block: values by field name.
    path: of the block, for messages, such as "config.rollout".

  Raises:
    errors.UserError: naming the first key that is unknown, missing or of the
      wrong type.
  """
  if not isinstance(block, Mapping):
    raise errors.UserError(f"{path} is {block!r}: give a dict of settings")
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for key in block:
    if key not in fields:
      raise errors.UserError(
        f"{path} has no key {key!r}: {names.did_you_mean(key, fields)}"
      )
  for name, field in fields.items():
    if name not in block and field.default is dataclasses.MISSING:
      raise errors.UserError(f"{path}.{name} is missing: set it")
  hints = get_type_hints(cls)
  return cls(
    **{
      key: _value(hints[key], value, f"{path}.{key}")
      for key, value in block.items()
    }
  )


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
