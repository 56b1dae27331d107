"""The catalogue: which functions make a method, read off files and docstrings.

python -m rlvr_jax.methods             # every experiment file
python -m rlvr_jax.methods steer       # one of them, with its formulas
python -m rlvr_jax.methods ppo_clip    # one function
"""

import inspect
import pathlib
import re
import types

from rlvr_jax import binding
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import hooks
from rlvr_jax import launch
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from rlvr_jax.data import selection

_FOLDER = pathlib.Path("experiments")
_TAG = re.compile(r"\[(code\*?|paper excerpt|inferred)\b")
_LINK = re.compile(r"https?://[^\s),\]]+")


def main(*wanted: str) -> None:
  """Prints the catalogue, or the cards of the names given."""
  if not wanted:
    print("\n\n".join(entry(path) for path in experiment_files()))
  for name in wanted:
    print(card(name))


def experiment_files() -> list[pathlib.Path]:
  """The experiment files beside the current folder, sorted.

  Raises:
    errors.UserError: if there is no such folder.
  """
  shared = ("__init__", "common")
  found = [p for p in sorted(_FOLDER.glob("*.py")) if p.stem not in shared]
  if not found:
    raise errors.UserError(
      f"{_FOLDER.absolute()} holds no experiment files: start from the folder"
      " that holds experiments/, or let `python -m rlvr_jax.copy_experiments`"
      " write it"
    )
  return found


def entry(path: pathlib.Path) -> str:
  """Lines of the catalogue on one experiment file."""
  module, experiment = _load(path)
  method, select = experiment.method, experiment.select
  parts = objective_lib.functions(method)
  lines = [f"{path.stem}: {_summary(module)}"]
  rows = [
    (hook, " ".join(part.name for part in parts[hook]))
    for hook in hooks.ROOMS
    if parts[hook]
  ]
  bound = [part for hook in parts.values() for part in hook]
  if select.name != "uniform":
    rows.append(("selection", select.name))
    bound.append(select)
  if method.scalars:
    shown = (
      f"{name} = {' to '.join(f'{x:g}' for x in value.values)}"
      for name, value in method.scalars.items()
    )
    rows.append(("scalars", ", ".join(shown)))
  if teacher := experiment.run.teacher:
    shown = f"sees {teacher.context}, {teacher.weights} weights"
    rows.append(("teacher", shown))
  rows.append(("paper", " ".join(_links(module.__doc__))))
  rows.append(("fields", " ".join(sorted(objective_lib.needed_fields(method)))))
  rows.append(("provenance", provenance(bound)))
  return "\n".join(lines + [f"  {name:<15}{text}" for name, text in rows])


def card(name: str) -> str:
  """All there is to know of an experiment file or of one function.

  Raises:
    errors.UserError: if there is neither; the message lists both.
  """
  files = {path.stem: path for path in experiment_files()}
  if name in files:
    _, experiment = _load(files[name])
    by_hook = objective_lib.functions(experiment.method)
    texts = [entry(files[name])]
    for hook, parts in (*by_hook.items(), ("selection", (experiment.select,))):
      texts += [_function_card(hook, part) for part in parts]
    return "\n\n".join(texts)
  rooms = hooks.ROOMS | {"selection": (selection,)}
  for hook, modules in rooms.items():
    for module in modules:
      function = names.public_functions(module).get(name)
      if function:
        return _function_card(hook, binding.bound(function))
  known = {*files}
  for modules in rooms.values():
    for module in modules:
      known |= names.public_functions(module).keys()
  raise errors.UserError(
    f"{name!r} is no experiment file and no function:"
    f" {names.did_you_mean(name, known)}"
  )


def provenance(parts: list[binding.Bound]) -> str:
  """Marks of the sources that the functions' docstrings name."""
  tags = set()
  for part in parts:
    tags |= set(_TAG.findall(inspect.getdoc(part.function) or ""))
  return " ".join(f"[{tag}]" for tag in sorted(tags)) or "paper"


def _function_card(hook: str, part: binding.Bound) -> str:
  """What it is, its formula and source, and the values it runs with."""
  function = part.function
  text = inspect.getdoc(function) or ""
  text = re.split(r"\n\s*\n(?=Example|Args)", text)[0]
  lines = [f"{function.__name__} ({hook})", *text.splitlines(), ""]
  for parameter in inspect.signature(function).parameters.values():
    if parameter.default is not parameter.empty:
      value = part.settings.get(parameter.name, parameter.default)
      lines.append(f"{parameter.name} = {value!r}")
  for keyword, field in part.fields.items():
    if keyword != field:
      lines.append(f"{keyword} takes the field {field}")
  return "\n".join(f"  {line}".rstrip() for line in lines).strip()


def _load(
  path: pathlib.Path,
) -> tuple[types.ModuleType, experiment_lib.Experiment]:
  module = launch.experiment_module(path)
  return module, experiment_lib.load(module.get_config().to_dict())


def _summary(module: types.ModuleType) -> str:
  return (module.__doc__ or "").partition("\n")[0]


def _links(text: str) -> list[str]:
  return list(dict.fromkeys(_LINK.findall(text or "")))


if __name__ == "__main__":
  launch.run(main)
