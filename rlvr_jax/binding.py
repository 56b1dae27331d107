"""A function with its hyper-parameters and the fields that it names."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import inspect
from typing import Any

import jax

from rlvr_jax import errors
from rlvr_jax import names


# Compared and hashed by identity, so that `jax.jit(bound(...))` works.
@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
  """A method's function, ready to be called with a batch.

  Attributes:
    function: keyword-only; a keyword without default is a field.
    settings: values of hyper-parameters.
    fields: the field that each keyword without default takes, by keyword; a
      keyword takes the field of its own name unless another is given.
    coef: weight of its term in the loss; regularizers only.
    over: field f32[B, T] that selects the tokens of its term, numerator and
      denominator; "" takes all generated tokens; regularizers only.
  """

  function: Callable[..., Any]
  settings: dict[str, Any]
  fields: dict[str, str]
  coef: float = 1.0
  over: str = ""

  def __call__(self, fields: Mapping[str, jax.Array]) -> Any:
    for name in self.field_names:
      if name not in fields:
        raise errors.UserError(
          f"{self.name} reads the field {name!r}, which the batch lacks: fill"
          " it, never with zeros"
        )
    picked = {keyword: fields[name] for keyword, name in self.fields.items()}
    return self.function(**picked, **self.settings)

  @property
  def name(self) -> str:
    return self.function.__name__

  @property
  def field_names(self) -> tuple[str, ...]:
    """Fields that the function reads."""
    return tuple(self.fields.values())

  def reads(self, names: Iterable[str]) -> bool:
    """Whether the function reads any of these fields."""
    return not set(self.field_names).isdisjoint(names)


# Default -> what may take its place; of other defaults nothing is known.
_KINDS = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


def _check_type(function, name: str, value: Any, default: Any) -> None:
  allowed = _KINDS.get(type(default))
  # Arrays and the like may stand for numbers.
  if not allowed or type(value) not in (*_KINDS, type(None)):
    return
  if type(value) not in allowed:
    raise errors.UserError(
      f"{function.__name__}: {name} is {value!r}, a {type(value).__name__}: it"
      f" takes a {type(default).__name__}"
    )


def bound(
  function: Callable[..., Any],
  *,
  coef: float = 1.0,
  over: str = "",
  **settings: Any,
) -> Bound:
  """Binds hyper-parameters; the rest of the signature names fields.

  Example: bound(losses.trajectory_balance, anchor_logprobs="ref_logprobs")
  passes the field `ref_logprobs` as `anchor_logprobs`.

  Args:
    function: a method's function.
    coef: weight of its term in the loss.
    over: field that selects the tokens of its term.
    **settings: values of hyper-parameters; for a keyword without default, the
      name of the field that it takes.

  Raises:
    errors.UserError: if a setting is not a keyword of the function, a keyword
      without default is given anything but the name of a field, or the
      function has a hyper-parameter that no setting could reach.
  """
  parameters = inspect.signature(function).parameters.values()
  hyper = [p.name for p in parameters if p.default is not p.empty]
  fields = {p.name: p.name for p in parameters if p.default is p.empty}
  for name in {"coef", "over"}.intersection(hyper):
    raise errors.UserError(
      f"{function.__name__} has a hyper-parameter {name!r}, which is a term's"
      " own: give it another name"
    )
  for name, value in settings.items():
    if name in fields:
      if not isinstance(value, str):
        raise errors.UserError(
          f"{function.__name__}: {name} is {value!r}, but it takes a field of"
          " the batch: give the field's name; a number of the method's own goes"
          " into config.scalars"
        )
      fields[name] = value
    elif name not in hyper:
      remedy = (
        names.did_you_mean(name, hyper) if hyper else "it has none: remove it"
      )
      raise errors.UserError(
        f"{function.__name__} has no hyper-parameter {name!r}: {remedy}"
      )
  for p in parameters:
    if p.name in settings and p.name in hyper:
      _check_type(function, p.name, settings[p.name], p.default)
  settings = {name: settings[name] for name in settings if name in hyper}
  return Bound(function, settings, fields, coef, over)
