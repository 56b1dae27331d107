"""Functions by the names that experiment files give them.

A module's namespace is the registry: there is nothing to register with.
"""

from collections.abc import Callable, Iterable
import difflib
import importlib
import types

from rlvr_jax import errors


def did_you_mean(name: str, valid: Iterable[str]) -> str:
  """A remedy that lists the valid names, the nearest first."""
  valid = sorted(valid)
  near = difflib.get_close_matches(name, valid, n=1)
  hint = f"did you mean {near[0]!r}? " if near else ""
  return f"{hint}choose one of {', '.join(valid)}"


def resolve(field: str, name: str, namespace: types.ModuleType) -> Callable:
  """The public function of that name, or a user's own by "module:function".

  Args:
    field: where the name was given, for the message.
    name: what was given.
    namespace: whose `__all__` lists the valid names.

  Raises:
    errors.UserError: if there is no such function.
  """
  if ":" in name:
    module_name, _, attribute = name.partition(":")
    try:
      return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
      raise errors.UserError(
        f"{field} is {name!r}, which cannot be imported ({error}): check"
        " the spelling and that its folder is on PYTHONPATH"
      ) from error
  if name not in namespace.__all__:
    remedy = did_you_mean(name, namespace.__all__)
    raise errors.UserError(
      f"{field} is {name!r}: {remedy}, or name your own as 'module:function'"
    )
  return getattr(namespace, name)
