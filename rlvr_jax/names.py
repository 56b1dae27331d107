"""Functions by the names that experiment files give them.

A module's namespace is the registry: there is nothing to register with.
"""

from collections.abc import Callable, Iterable
import difflib
import importlib
import inspect
import types

from rlvr_jax import errors


def did_you_mean(name: str, valid: Iterable[str]) -> str:
  """A remedy that lists the valid names, the nearest first."""
  valid = sorted(valid)
  near = difflib.get_close_matches(name, valid, n=1)
  hint = f"did you mean {near[0]!r}? " if near else ""
  return f"{hint}choose one of {', '.join(valid)}"


def last(name: str) -> str:
  """Name of the function in "module:function" or "function"."""
  return name.rpartition(":")[2]


def public_functions(module: types.ModuleType) -> dict[str, Callable]:
  """A module's own functions by name, or those that its `__all__` lists."""
  if hasattr(module, "__all__"):
    return {name: getattr(module, name) for name in module.__all__}
  return {
    name: value
    for name, value in vars(module).items()
    if inspect.isfunction(value)
    and value.__module__ == module.__name__
    and not name.startswith("_")
  }


def resolve(field: str, name: str, *modules: types.ModuleType) -> Callable:
  """The public function of that name, or a user's own by "module:function".

  Args:
    field: where the name was given, for the message.
    name: what was given.
    *modules: whose functions are the valid names.

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
  valid: dict[str, Callable] = {}
  for module in modules:
    valid |= public_functions(module)
  if name not in valid:
    raise errors.UserError(
      f"{field} is {name!r}: {did_you_mean(name, valid)}, or name your own as"
      " 'module:function'"
    )
  return valid[name]
