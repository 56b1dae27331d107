"""Experiments that differ in numbers alone, as one with columns of values.

A program that is built with traced numbers in their places runs all of them.
"""

from collections.abc import Callable, Mapping, Sequence
import copy
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec
import numpy as np

from rlvr_jax import binding
from rlvr_jax import errors
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import settings

# The only whole number that may differ: no shape depends on it.
SEED = "seed"
Change = Callable[[str, Any], Any]
# How a device goes over its columns: one after another inside the program, or
# all together in batched operations.
OVER = ("map", "vmap")


class Layout(NamedTuple):
  """How columns are shared out.

  Attributes:
    over: one of OVER.
    num_devices: each takes as many columns as the others.
  """

  over: str = "map"
  num_devices: int = 1


class Columns(NamedTuple):
  """C experiments of one program.

  Attributes:
    experiment: the first.
    values: [C] by name of the setting, i32 for the seed and f32 else: the seed
      and what differs.
  """

  experiment: experiment_lib.Experiment
  values: dict[str, np.ndarray]

  @property
  def number(self) -> int:
    return self.values[SEED].shape[0]

  def at(self, values: Mapping[str, Any]) -> experiment_lib.Experiment:
    """The experiment with other values, which may be traced."""
    return _changed(
      self.experiment, lambda name, value: values.get(name, value)
    )


def columns(experiments: Sequence[experiment_lib.Experiment]) -> Columns:
  """Experiments, each loaded and so checked by itself, as columns.

  Raises:
    errors.UserError: naming a setting that differs and is no number, or a
      whole one.
  """
  tables = [_settings(experiment) for experiment in experiments]
  first = tables[0]
  values = {SEED: np.array([table[SEED] for table in tables], np.int32)}
  for name in dict.fromkeys(name for table in tables for name in table):
    found = [table.get(name) for table in tables]
    if name == SEED or all(x == first.get(name) for x in found):
      continue
    other = next(x for x in found if x != first.get(name))
    settings.require(
      all(type(x) in (int, float) for x in found)
      and any(type(x) is float for x in found),
      f"config.{name} is {_shown(first.get(name))} and {_shown(other)}: runs in"
      " lockstep differ in their seeds and in fractional numbers alone, so"
      " give it one value, or start them apart",
    )
    values[name] = np.array(found, np.float32)
  return Columns(experiments[0], values)


def check_traceable(
  columns: Columns, build: Callable[[experiment_lib.Experiment], Any]
) -> None:
  """Makes sure that one program can hold all columns.

  Args:
    columns: the experiments.
    build: called with an experiment whose values are traced.

  Raises:
    errors.UserError: naming a setting that the code decides by.
  """
  names = [name for name in columns.values if name != SEED]
  failure = _failure(columns, build, names)
  for name in names if failure else ():
    if _failure(columns, build, [name]):
      raise errors.UserError(
        f"config.{name} takes {len({*columns.values[name].tolist()})} values,"
        " but the code decides by it what to compute, so that one program"
        " cannot hold them all: give it one value, or start them apart"
      ) from failure
  if failure:
    raise failure


def over(
  columns: Columns,
  layout: Layout,
  function: Callable[..., Any],
  is_counted: bool = False,
) -> Callable[..., Any]:
  """A function of one column, compiled for all of them.

  Args:
    columns: the experiments.
    layout: how they are shared out; its devices divide their number.
    function: (experiment, own, shared) -> result of a column, or with a number
      of steps behind.
    is_counted: whether it takes that; `own` is then donated.

  Returns:
    (own [C, ...], shared) -> results [C, ...], or with the number behind.
  """

  def run(values, own, shared, *number):
    one = lambda values, own, shared: function(
      columns.at(values), own, shared, *number
    )
    go = jax.vmap(one, in_axes=(0, 0, None))
    if layout.over == "map":
      go = lambda values, own, shared: lax.map(
        lambda column: one(*column, shared), (values, own)
      )
    if layout.num_devices > 1:
      go = _on_devices(go, layout.num_devices)
    return go(values, own, shared)

  compiled = jax.jit(
    run,
    static_argnums=(3,) if is_counted else (),
    donate_argnums=(1,) if is_counted else (),
  )
  return functools.partial(compiled, columns.values)


def _on_devices(go: Callable[..., Any], number: int) -> Callable[..., Any]:
  """(values, own, shared) -> results; each device has columns of its own."""
  split, whole = PartitionSpec("columns"), PartitionSpec()
  mesh = jax.make_mesh(
    (number,),
    ("columns",),
    axis_types=(AxisType.Auto,),
    devices=jax.devices()[:number],
  )
  return jax.shard_map(
    go,
    mesh=mesh,
    in_specs=(split, split, whole),
    out_specs=split,
    check_vma=False,
  )


def _failure(columns: Columns, build, names: Sequence[str]) -> Exception | None:
  """What goes wrong if these settings are traced."""
  if not names:
    return None
  shapes = {
    name: jax.ShapeDtypeStruct((), columns.values[name].dtype) for name in names
  }
  try:
    jax.eval_shape(lambda values: build(columns.at(values)), shapes)
  except (TypeError, IndexError) as error:
    # What jax raises where Python asks a traced number for its value.
    return error
  return None


def _settings(experiment: experiment_lib.Experiment) -> dict[str, Any]:
  """Every setting of an experiment by the name that its file gives it."""
  found = {}

  def note(name: str, value: Any) -> Any:
    found[name] = value
    return value

  _changed(experiment, note)
  return found


def _changed(
  experiment: experiment_lib.Experiment, change: Change
) -> experiment_lib.Experiment:
  """The experiment with every setting replaced by change(name, setting).

  Nothing is checked anew: a traced number has no value to check.
  """
  run, method, select = experiment
  return experiment_lib.Experiment(
    _replaced(run, "", change),
    method._replace(
      **{
        hook: _replaced(part, f"{hook}.", change)
        for hook, part in method._asdict().items()
      }
    ),
    _replaced(select, "selection.", change),
  )


def _replaced(value: Any, prefix: str, change: Change) -> Any:
  """`_changed` of a block; the prefix of its settings' names ends in a dot."""
  if isinstance(value, binding.Bound):
    change(f"{prefix}name", value.function)
    change(f"{prefix}fields", (value.fields, value.over))
    return dataclasses.replace(
      value,
      settings={k: change(prefix + k, v) for k, v in value.settings.items()},
      coef=change(f"{prefix}coef", value.coef),
    )
  if dataclasses.is_dataclass(value):
    # Not `replace`, which would check.
    block = copy.copy(value)
    for field in dataclasses.fields(value):
      inner = getattr(value, field.name)
      new = _replaced(inner, f"{prefix}{field.name}.", change)
      object.__setattr__(block, field.name, new)
    return block
  if isinstance(value, Mapping):
    return {k: _replaced(v, f"{prefix}{k}.", change) for k, v in value.items()}
  if isinstance(value, tuple) and value and isinstance(value[0], binding.Bound):
    # Their blocks stand by their names beside the hook's.
    change(prefix[:-1], tuple(x.name for x in value))
    return tuple(_replaced(x, f"{x.name}.", change) for x in value)
  return change(prefix[:-1], value)


def _shown(value: Any) -> str:
  return getattr(value, "__name__", None) or repr(value)
