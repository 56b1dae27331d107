"""A method's functions, bound by the names of their arguments.

A keyword without default is a field of the batch (of its own name, unless the
setting names another), one with default is a hyper-parameter. That is all the
magic there is; in a notebook an objective is

  method = Objective(advantage=bound(advantages.grpo_advantages),
                     token_loss=bound(losses.ppo_clip, clip_high=0.28))
  loss, terms = credit.whole_loss(method, fields)
"""

from collections.abc import Mapping
import types
from typing import Any, NamedTuple

from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import names
from rlvr_jax import schedules
from rlvr_jax import settings
from rlvr_jax.binding import Bound
from rlvr_jax.binding import bound
from rlvr_jax.hooks import MANY
from rlvr_jax.hooks import ROOMS
from rlvr_jax.hooks import SINGLE
from rlvr_jax.losses import aggregate


class Objective(NamedTuple):
  """The functions of one method, by hook.

  Attributes:
    advantage: fields -> f32[B], or (f32[B], keep f32[B]).
    token_loss: live and frozen fields -> f32[B, T]; either this or
    sequence_loss: live and frozen fields -> f32[B], or a NamedTuple of f32[B]
      with `losses` and what is worth measuring beside.
    reward_shaping: fields -> f32[B], each replaces `rewards`.
    filters: fields -> keep f32[B]; dropped rows leave the loss altogether.
    token_weights: fields -> TokenShape; in order, the live ones last.
    behavior: fields -> Behavior, corrections of the policy term.
    regularizers: fields -> f32[B, T] or f32[B], each added with its `coef`.
    aggregate: token losses and masks -> Mean.
    derived: fields -> the field of the function's name, in this order.
    scalars: fields f32[] by name, the same for all functions.
  """

  advantage: Bound | None = None
  token_loss: Bound | None = None
  sequence_loss: Bound | None = None
  reward_shaping: tuple[Bound, ...] = ()
  filters: tuple[Bound, ...] = ()
  token_weights: tuple[Bound, ...] = ()
  behavior: tuple[Bound, ...] = ()
  regularizers: tuple[Bound, ...] = ()
  aggregate: Bound = bound(aggregate.token_mean)
  derived: tuple[Bound, ...] = ()
  scalars: Mapping[str, schedules.Schedule] = types.MappingProxyType({})


def functions(objective: Objective) -> dict[str, tuple[Bound, ...]]:
  """All functions of an objective by hook, none left out."""
  by_hook = objective._asdict()
  return {
    hook: by_hook[hook]
    if hook in MANY
    else (by_hook[hook],) * bool(by_hook[hook])
    for hook in ROOMS
  }


def needed_fields(objective: Objective) -> frozenset[str]:
  """Names of the fields that have to be filled before the objective runs.

  `ref_logprobs` among them asks for a pass of the reference policy.
  """
  by_hook = functions(objective)
  parts = sum((by_hook[hook] for hook in ROOMS if hook != "aggregate"), ())
  named = frozenset().union(*(part.field_names for part in parts))
  named |= {part.over for part in parts if part.over}
  return (
    named - {part.name for part in objective.derived} - {*objective.scalars}
  )


def bind(config: Mapping[str, Any]) -> Objective:
  """The Objective that an experiment file names.

  Args:
    config: single hooks hold a name or dict(name=..., hyper-parameters); the
      others hold a tuple of names, with a block of hyper-parameters under each
      of those names; a regularizer's also holds its `coef` and may hold
      `over`, the field that selects its tokens. `scalars` holds numbers, or
      blocks of a `Schedule`, by the name of the field that they fill.

  Raises:
    errors.UserError: for an unknown name or hyper-parameter, two functions or
      none for one place, or a field that no run fills.
  """
  single = {
    hook: _bind_one(config, hook) for hook in SINGLE if config.get(hook)
  }
  many = {hook: _bind_many(config, hook) for hook in MANY}
  scalars = {
    name: _schedule(f"config.scalars.{name}", value)
    for name, value in config.get("scalars", {}).items()
  }
  objective = Objective(**single, **many, scalars=scalars)
  _check(objective)
  return objective


def _schedule(path: str, value: Any) -> schedules.Schedule:
  block = value if isinstance(value, Mapping) else dict(start=value)
  schedule = settings.typed(schedules.Schedule, block, path)
  for number in schedule.values:
    checks.scalar(path, number)
  return schedule


def _bind_one(config, hook: str) -> Bound:
  block = config[hook]
  block = {"name": block} if isinstance(block, str) else dict(block)
  return _bind(hook, f"config.{hook}.name", block.pop("name", ""), block)


def _bind_many(config, hook: str) -> tuple[Bound, ...]:
  return tuple(
    _bind(hook, f"config.{hook}", name, config.get(names.last(name), {}))
    for name in config.get(hook, ())
  )


def _bind(hook: str, field: str, name: str, block: Mapping[str, Any]) -> Bound:
  function = names.resolve(field, name, *ROOMS[hook])
  if hook != "regularizers" and not {"coef", "over"}.isdisjoint(block):
    raise errors.UserError(
      f"config.{hook} gives {name} a coef or over: only regularizers have them"
    )
  return bound(function, **block)


def _check(objective: Objective) -> None:
  losses = list(filter(None, (objective.token_loss, objective.sequence_loss)))
  if len(losses) != 1:
    found = " and ".join(part.name for part in losses) or "neither"
    raise errors.UserError(
      f"config.token_loss and config.sequence_loss name {found}: a method has"
      " one of them"
    )
  for hook, parts in functions(objective).items():
    named = [part.name for part in parts]
    for name in named:
      if named.count(name) > 1:
        raise errors.UserError(
          f"config.{hook} names {name} twice: their settings would be shared,"
          " so list it once"
        )
  rooms = (names.public_functions(room) for room in ROOMS["derived"])
  filled = set(checks.SHAPES).difference(checks.ARGUMENTS, *rooms)
  for part in objective.derived:
    if part.name in filled:
      raise errors.UserError(
        f"config.derived names {part.name}, a field that every run fills:"
        " give the function another name"
      )
  for name in objective.scalars:
    if name in filled:
      raise errors.UserError(
        f"config.scalars.{name} would replace a field that every run fills:"
        " give the number another name"
      )
  for name in sorted(needed_fields(objective) - filled):
    raise errors.UserError(
      f"the objective names the field {name!r}, which no run fills:"
      f" {names.did_you_mean(name, filled)}, name a function of that name in"
      f" config.derived, or set a number config.scalars.{name}"
    )
