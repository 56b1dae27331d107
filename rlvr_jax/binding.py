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
    field_names: fields that the function reads.
    coef: weight of its term in the loss; regularizers only.
    over: field f32[B, T] that selects the tokens of its term, numerator and
      denominator; "" takes all generated tokens; regularizers only.
  """

  function: Callable[..., Any]
  settings: dict[str, Any]
  field_names: tuple[str, ...]
  coef: float = 1.0
  over: str = ""

  def __call__(self, fields: Mapping[str, jax.Array]) -> Any:
    for name in self.field_names:
      if name not in fields:
        raise errors.UserError(
          f"{self.name} reads the field {name!r}, which the batch lacks: fill"
          " it, never with zeros"
        )
    picked = {name: fields[name] for name in self.field_names}
    return self.function(**picked, **self.settings)

  @property
  def name(self) -> str:
    return self.function.__name__

  def reads(self, names: Iterable[str]) -> bool:
    """Whether the function names any of these fields."""
    return not set(self.field_names).isdisjoint(names)


def bound(
  function: Callable[..., Any],
  *,
  coef: float = 1.0,
  over: str = "",
  **settings: Any,
) -> Bound:
  """Binds hyper-parameters; the rest of the signature names fields.

  Args:
    function: a method's function.
    coef: weight of its term in the loss.
    over: field that selects the tokens of its term.
    **settings: values of hyper-parameters.

  Raises:
    errors.UserError: if a setting is not a hyper-parameter of the function.
  """
  parameters = inspect.signature(function).parameters.values()
  hyper = [p.name for p in parameters if p.default is not p.empty]
  for name in settings:
    if name not in hyper:
      remedy = (
        names.did_you_mean(name, hyper) if hyper else "it has none: remove it"
      )
      raise errors.UserError(
        f"{function.__name__} has no hyper-parameter {name!r}: {remedy}"
      )
  fields = tuple(p.name for p in parameters if p.default is p.empty)
  return Bound(function, settings, fields, coef, over)
