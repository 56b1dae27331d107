"""What a lab compares: methods and swept settings, loaded and checked."""

from collections.abc import Mapping, Sequence
import itertools
import json
import pathlib
from typing import Any, NamedTuple

from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import launch
from rlvr_jax import settings
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.laboratory import lockstep

_EXPERIMENTS = pathlib.Path("experiments")
_VARIANT = "tiny"
# Blocks of a config that make a warm start.
WARM_START = ("data", "evaluation", "model", "teacher", "warm_start")
# What methods have to have in common, to be compared.
_SHARED = ("data", "evaluation", "model")


class Entry(NamedTuple):
  """A method of the lab.

  Attributes:
    name: as given.
    config: of its first seed and swept value.
    swept: values of each row of the table, by setting; [{}] without a sweep.
    experiments: of each row and seed, seeds fastest.
  """

  name: str
  config: dict[str, Any]
  swept: list[dict[str, float]]
  experiments: list[experiment_lib.Experiment]

  @property
  def rows(self) -> list[str]:
    """Names of the method's rows in the table."""
    return [
      " ".join([self.name, *(f"{k}={v:g}" for k, v in values.items())])
      for values in self.swept
    ]


def entry(
  name: str,
  seeds: int,
  swept: list[dict[str, float]],
  changes: Mapping[str, Any],
) -> Entry:
  """A method, with every experiment of it loaded and checked.

  Args:
    name: file of experiments/, with or without a variant.
    seeds: how many.
    swept: of `crossed`.
    changes: settings for all, by dotted name.

  Raises:
    errors.UserError: with the name, the value and the remedy.
  """
  stem, _, variant = name.partition(":")
  path = _EXPERIMENTS / f"{stem}.py"
  settings.require(
    path.is_file(),
    f"--methods names {name!r}, but there is no {path}: see"
    " `python -m rlvr_jax.methods`",
  )
  module = launch.experiment_module(path)
  configs = []
  for values in swept:
    for seed in range(seeds):
      try:
        config = module.get_config(variant or _VARIANT)
        config.update_from_flattened_dict({**changes, **values, "seed": seed})
      except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise errors.UserError(f"--methods={name}: {error.args[0]}") from error
      configs.append(config.to_dict())
  loaded = [experiment_lib.load(config) for config in configs]
  for experiment in loaded:
    lockstep.check_on_device(experiment.run)
  return Entry(name, configs[0], swept, loaded)


def crossed(sweeps: Sequence[str]) -> list[dict[str, float]]:
  """Every combination of the values of --sweep.

  Example: crossed(["a=1,2", "b=3"]) is [{"a": 1.0, "b": 3.0}, {"a": 2.0, "b":
  3.0}].

  Raises:
    errors.UserError: if one is no list of numbers, or of the warm start.
  """
  values = {}
  for text in sweeps:
    name, _, numbers = text.partition("=")
    try:
      values[name] = [float(x) for x in numbers.split(",")]
    except ValueError as error:
      raise errors.UserError(
        f"--sweep is {text!r}: give a setting and numbers, such as"
        " optimizer.learning_rate=1e-4,3e-4"
      ) from error
    settings.require(
      name.split(".")[0] not in WARM_START,
      f"--sweep names {name}, but all rows share data, model and warm start:"
      " sweep a setting of RL",
    )
  return [
    dict(zip(values, numbers, strict=True))
    for numbers in itertools.product(*values.values())
  ]


def changes(texts: Sequence[str]) -> dict[str, Any]:
  """Settings by dotted name, each "name=value"; numbers are read as such.

  Raises:
    errors.UserError: if one has no value.
  """
  found = {}
  for text in texts:
    name, _, value = text.partition("=")
    settings.require(
      bool(value), f"--set is {text!r}: give a setting and its value"
    )
    try:
      found[name] = json.loads(value)
    except ValueError:
      found[name] = value
  return found


def check_comparable(entries: Sequence[Entry]) -> None:
  """Makes sure that methods may start alike and be measured alike.

  Raises:
    errors.UserError: naming a setting that differs.
  """
  first = entries[0]
  names = [found.name for found in entries]
  for name in names:
    settings.require(
      names.count(name) == 1, f"--methods names {name} twice: leave one out"
    )
  ours = flat(first.config, _SHARED)
  for other in entries[1:]:
    theirs = flat(other.config, _SHARED)
    for key in sorted(ours.keys() | theirs.keys()):
      settings.require(
        theirs.get(key) == ours.get(key),
        f"config.{key} is {ours.get(key)!r} with {first.name} and"
        f" {theirs.get(key)!r} with {other.name}: methods of one lab share"
        " task, model and evaluation, so choose variants of one task",
      )


def warm_start_of(entries: Sequence[Entry]) -> Entry:
  """The entry whose warm start all share: the first that shows hints, if any.

  A method that shows hints needs a model to which they mean something; the
  others lose nothing by it but that they start alike.
  """
  shows = lambda found: found.experiments[0].run.warm_start.hints
  return next(filter(shows, entries), entries[0])


def flat(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
  """Settings of some blocks, by dotted name; as JSON gives them back."""
  blocks = {name: config.get(name) for name in names}
  return json.loads(json.dumps(workdir_lib.flat(blocks)))
