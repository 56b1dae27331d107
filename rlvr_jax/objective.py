"""A method's functions, bound by the names of their arguments.

A keyword without default is a field of the batch, one with default is a
hyper-parameter. That is all the magic there is; in a notebook an objective is

  method = Objective(advantage=bound(advantages.grpo_advantages),
                     token_loss=bound(losses.ppo_clip, clip_high=0.28))
  fields = credit.assign_credit(method, fields)
  loss, terms = credit.loss_and_terms(
      method, fields, credit.counts(method, fields))
"""

from collections.abc import Callable, Mapping
import inspect
from typing import Any, NamedTuple

import jax

from rlvr_jax import advantages
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import names
from rlvr_jax import token_weights

# Fields that exist only inside the gradient; selectors see them frozen.
LIVE_FIELDS = ("logprobs", "entropies", "mean_logprobs")
# Fields that the trainer fills for every rollout batch.
BATCH_FIELDS = (
  "completion_mask",
  "group_ids",
  "sample_index",
  "valid",
  "finished",
  "sampler_logprobs",
  "log_kept_mass",
  "frozen_entropies",
  "frozen_mean_logprobs",
  "rewards",
  "is_correct",
  "outcomes",
  "old_logprobs",
)
# Fields that `credit.assign_credit` fills.
CREDIT_FIELDS = ("advantages", "token_advantages", "loss_mask")


class Bound(NamedTuple):
  """A method's function with its hyper-parameters and the fields it names."""

  function: Callable[..., Any]
  settings: dict[str, Any]
  field_names: tuple[str, ...]
  coef: float = 1.0

  def __call__(self, fields: Mapping[str, jax.Array]) -> Any:
    picked = {name: fields[name] for name in self.field_names}
    return self.function(**picked, **self.settings)


def bound(
  function: Callable[..., Any], *, coef: float = 1.0, **settings: Any
) -> Bound:
  """Binds hyper-parameters; the rest of the signature names fields.

  Args:
    function: a method's function.
    coef: weight of its term in the loss.
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
  return Bound(function, settings, fields, coef)


class Objective(NamedTuple):
  """The functions of one method, by the hook they touch.

  Attributes:
    advantage: rewards and groups -> f32[B].
    token_loss: live and frozen fields -> f32[B, T].
    token_weights: fields -> TokenShape; composed in this order.
    regularizers: fields -> f32[B, T], each added with its `coef`.
    aggregate: token losses and masks -> Mean.
  """

  advantage: Bound
  token_loss: Bound
  token_weights: tuple[Bound, ...] = ()
  regularizers: tuple[Bound, ...] = ()
  aggregate: Bound = bound(losses.token_mean)


def is_live(part: Bound) -> bool:
  """Whether a part needs the forward pass inside the gradient."""
  return any(name in LIVE_FIELDS for name in part.field_names)


def needed_fields(objective: Objective) -> frozenset[str]:
  """Names of the fields that the objective's functions read."""
  parts = [objective.advantage, objective.token_loss]
  parts += [*objective.token_weights, *objective.regularizers]
  return frozenset().union(*(part.field_names for part in parts))


def bind(config: Mapping[str, Any]) -> Objective:
  """The Objective that an experiment file names.

  Args:
    config: with `advantage`, `token_loss` and `aggregate`, each a name or
      dict(name=..., hyper-parameters), the tuples of names `token_weights` and
      `regularizers`, and a block of hyper-parameters under each of those
      names; a regularizer's block also holds its `coef`.

  Raises:
    errors.UserError: for an unknown name or hyper-parameter, or a field that
      no run can fill.
  """
  objective = Objective(
    advantage=_bind_one(config, "advantage", advantages),
    token_loss=_bind_one(config, "token_loss", losses),
    token_weights=_bind_many(config, "token_weights", token_weights),
    regularizers=_bind_many(config, "regularizers", losses),
    aggregate=_bind_one(config, "aggregate", losses),
  )
  known = (*BATCH_FIELDS, *CREDIT_FIELDS, *LIVE_FIELDS)
  for name in sorted(needed_fields(objective) - set(known)):
    raise errors.UserError(
      f"the objective names the field {name!r}, which no run fills:"
      f" {names.did_you_mean(name, known)}"
    )
  return objective


def _bind_one(config, hook: str, namespace) -> Bound:
  block = config[hook]
  block = {"name": block} if isinstance(block, str) else dict(block)
  function = names.resolve(f"config.{hook}.name", block.pop("name"), namespace)
  return bound(function, **block)


def _bind_many(config, hook: str, namespace) -> tuple[Bound, ...]:
  return tuple(
    bound(
      names.resolve(f"config.{hook}", name, namespace),
      **dict(config.get(name.partition(":")[2] or name, {})),
    )
    for name in config.get(hook, ())
  )
