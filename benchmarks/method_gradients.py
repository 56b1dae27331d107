"""What methods make of the same rollouts: gradients, weights, times.

The gradient is that of the training program (`update.gradient`). The weight of
a token is minus the derivative of the loss with respect to its log-probability:
for a policy gradient the advantage times the token's weight and ratio, over the
number of tokens. It says nothing of a loss that reads other live fields alone,
such as the log-probabilities of candidate tokens.
"""

from collections.abc import Callable, Sequence
import functools
import importlib
from typing import Any, NamedTuple

import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np

from benchmarks import frozen_rollouts
from benchmarks import measurement
from rlvr_jax import credit
from rlvr_jax import errors
from rlvr_jax import methods as methods_lib
from rlvr_jax import names as names_lib
from rlvr_jax import objective as objective_lib
from rlvr_jax import passes
from rlvr_jax import records
from rlvr_jax import state as state_lib
from rlvr_jax import update

# What others are compared with.
BASELINE = "grpo"
# Filled on the way, whatever the file holds; a head for log Z is not there.
_FILLED = {
  *credit.LIVE_FIELDS,
  *credit.CREDIT_FIELDS,
  "step",
  "token_uniforms",
  "prompt_normals",
} - {"log_partition"}
_REMEDIES = {
  "log_partition": "it is learned by a head that only a run has",
  "ref_logprobs": "write them into the file (--make does)",
  "is_correct": "write verdicts into the file",
}
_TEACHER = "write a teacher's columns into the file (--make does)"
_METRICS = {
  "loss": "policy/loss",
  "ratio_low_frac": "policy/ratio_low_frac",
  "ratio_high_frac": "policy/ratio_high_frac",
}


class Program(NamedTuple):
  """Compiled functions of parameters and rollouts, for one method.

  Attributes:
    gradient: -> (f32[P], metrics), of an update of the whole batch.
    tokens: -> (weights, credit), f32[B, T] each.
  """

  gradient: Callable[..., Any]
  tokens: Callable[..., Any]


class Measured(NamedTuple):
  """What one method makes of the rollouts.

  Attributes:
    gradient: f32[P], of the policy, all parameters in one row.
    weights: f32[B, T], of tokens.
    figures: numbers by name; None where there is no such number.
  """

  gradient: np.ndarray
  weights: np.ndarray
  figures: dict[str, float | None]


def methods(names: Sequence[str]) -> dict[str, objective_lib.Objective]:
  """Methods of experiment files by name, the baseline first.

  Args:
    names: of files, with what follows ":tiny" in some, such as "rlrt+all";
      none for all files.

  Raises:
    errors.UserError: if there is no such file.
  """
  files = [path.stem for path in methods_lib.experiment_files()]
  found = {}
  for name in dict.fromkeys((BASELINE, *(names or files))):
    stem, plus, control = name.partition("+")
    if stem not in files:
      raise errors.UserError(
        f"--methods has {name!r}: {names_lib.did_you_mean(stem, files)}"
      )
    module = importlib.import_module(f"experiments.{stem}")
    try:
      config = module.get_config(f"tiny{plus}{control}")
    except ValueError as error:
      raise errors.UserError(f"--methods has {name!r}: {error}") from error
    found[name] = objective_lib.bind(config.to_dict())
  return found


def lacking(
  method: objective_lib.Objective, rollouts: records.RolloutBatch
) -> str:
  """Why a method cannot run on the rollouts; "" if it can."""
  needed = objective_lib.needed_fields(method)
  missing = sorted(needed.difference(_FILLED, records.fields(rollouts)))
  if not missing:
    return ""
  remedies = dict.fromkeys(
    _TEACHER if "teacher" in name else _REMEDIES.get(name, "fill it")
    for name in missing
  )
  return f"no {', '.join(missing)}: {'; '.join(remedies)}"


def programs(
  chosen: dict[str, objective_lib.Objective],
  frozen: frozen_rollouts.Frozen,
  num_micro_batches: int = 1,
) -> dict[str, Program]:
  """What is compiled for each method, on first use.

  Args:
    chosen: methods by name.
    frozen: rollouts and model.
    num_micro_batches: passes of a gradient.
  """
  found = {}
  for name, method in chosen.items():
    settings = dict(
      model=frozen.model,
      method=method,
      config=update.UpdateConfig(num_micro_batches=num_micro_batches),
      temperature=frozen.temperature,
    )
    found[name] = Program(
      *(jax.jit(functools.partial(x, **settings)) for x in (_gradient, _tokens))
    )
  return found


def compare(
  compiled: dict[str, Program],
  params: Any,
  rollouts: records.RolloutBatch,
  rounds: int,
) -> tuple[dict[str, dict[str, float | None]], list[list[float | None]]]:
  """Figures of methods by name, and the cosines of their gradients.

  Args:
    compiled: of `programs`, the baseline among them.
    params: of the policy that gradients are taken at.
    rollouts: on device.
    rounds: gradients of each method that are timed, in turns.
  """
  measured = {
    name: measure(program, params, rollouts)
    for name, program in compiled.items()
  }
  secs = measurement.interleaved(
    {
      name: functools.partial(program.gradient, params, rollouts)
      for name, program in compiled.items()
    },
    rounds,
  )
  inside = _inside(rollouts)
  base = measured[BASELINE].weights[inside]
  figures = {
    name: x.figures
    | {
      "weight_correlation": _correlation(x.weights[inside], base),
      "gradient_secs": float(np.median(secs[name])),
    }
    for name, x in measured.items()
  }
  return figures, cosines([x.gradient for x in measured.values()])


def measure(
  program: Program, params: Any, rollouts: records.RolloutBatch
) -> Measured:
  """One method on the rollouts, at the parameters."""
  gradient, metrics = jax.device_get(program.gradient(params, rollouts))
  weights, credited = jax.device_get(program.tokens(params, rollouts))
  inside = _inside(rollouts)
  has_credit = inside & (credited != 0)
  silent = has_credit & (weights == 0)
  figures = {name: float(metrics[key]) for name, key in _METRICS.items()}
  figures |= {
    "gradient_norm": float(np.linalg.norm(gradient.astype(np.float64))),
    "weighted_frac": float(np.mean(weights[inside] != 0)),
    "clipped_frac": _ratio(np.sum(silent), np.sum(has_credit)),
  }
  return Measured(gradient, weights, figures)


def moved(
  frozen: frozen_rollouts.Frozen,
  method: objective_lib.Objective,
  optimizer: Any,
  num_updates: int,
) -> Any:
  """Parameters after so many updates of a method on the same rollouts."""
  step = jax.jit(
    functools.partial(
      update.train_step,
      model=frozen.model,
      method=method,
      optimizer=optimizer,
      config=update.UpdateConfig(),
      temperature=frozen.temperature,
    )
  )
  state = state_lib.around(frozen.params, 0, optimizer)
  for _ in range(num_updates):
    state, _ = step(state, frozen.rollouts)
  return state.params


def cosines(gradients: Sequence[np.ndarray]) -> list[list[float | None]]:
  """Between all pairs; None where one of the two is 0."""
  rows = np.stack(gradients).astype(np.float64)
  norms = np.linalg.norm(rows, axis=1)
  products = rows @ rows.T
  return [
    [
      float(products[i, j] / (norms[i] * norms[j]))
      if norms[i] * norms[j] > 0
      else None
      for j in range(len(rows))
    ]
    for i in range(len(rows))
  ]


def _state(params) -> records.TrainState:
  """Gradients look at no more of a state than this."""
  zero = jnp.zeros((), jnp.int32)
  return records.TrainState(zero, zero, params, opt_state=None)


def _gradient(params, rollouts, **settings):
  grads, metrics = update.gradient(_state(params), rollouts, **settings)
  return flatten_util.ravel_pytree(grads.policy)[0], metrics


def _tokens(params, rollouts, *, model, method, config, temperature):
  """Weights and credit of tokens, f32[B, T] each."""
  state = _state(params)
  fields = update.first_fields(
    state,
    rollouts,
    model=model,
    method=method,
    config=config,
    temperature=temperature,
  )
  part = passes.known(state, rollouts, method, None)
  support = "support_logprobs" in objective_lib.needed_fields(method)
  scores = passes.score(model, temperature, None, params, part, support)
  fields = passes.with_live(scores, fields)
  counts = credit.counts(method, fields)
  loss = lambda logprobs: credit.loss_and_terms(
    method, fields | {"logprobs": logprobs}, counts
  )[0]
  weights = -jax.grad(loss)(fields["logprobs"])
  return weights, fields["token_advantages"] * fields["loss_mask"]


def _inside(rollouts: records.RolloutBatch) -> np.ndarray:
  """bool[B, T], tokens that could be learned from."""
  return np.asarray(rollouts.completion_mask * rollouts.valid[:, None]) > 0


def _ratio(part: float, whole: float) -> float | None:
  return float(part / whole) if whole else None


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
  """Pearson's; None where one of the two does not vary."""
  if not (np.std(x) > 0 and np.std(y) > 0):
    return None
  return float(np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1])
