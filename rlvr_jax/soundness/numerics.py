"""Numbers that are none: updates left out, batches kept, runs stopped."""

from collections.abc import Mapping
import dataclasses
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import hosts
from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax import workdir as workdir_lib
from rlvr_jax.rollouts import files as rollout_files

# Metrics of a step that is left out if one of them is not finite.
_DECIDING = ("policy/loss", "policy/grad_norm", "log_partition/grad_norm")
_LEARNED = ("policy/", "log_partition/")
SKIPPED = "policy/skipped_frac"
IMPOSSIBLE = "policy/impossible_nats"


@dataclasses.dataclass(frozen=True)
class NumericsConfig:
  """What a run does about a loss or gradient that is not finite."""

  # Steps in a row with an update left out, after which the run stops.
  max_skipped: int = 3

  def __post_init__(self):
    settings.require(
      self.max_skipped >= 1,
      f"config.numerics.max_skipped is {self.max_skipped}: set it to 1 or more",
    )


def is_finite(measured: Mapping[str, jax.Array]) -> jax.Array:
  """Whether the loss and every gradient of an update are numbers, bool[]."""
  found = [measured[name] for name in _DECIDING if name in measured]
  return jnp.all(jnp.isfinite(jnp.stack(found)))


def chosen(condition: jax.Array, new: Any, old: Any) -> Any:
  """One of two pytrees."""
  return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


def impossible_nats(fields: Mapping[str, jax.Array]) -> jax.Array:
  """How far a row lies beyond what can be: log-probs > 0, entropies < 0.

  Args:
    fields: of a batch; every one whose name ends in logprobs or entropies and
      that has an entry for each token counts.

  Returns:
    f32[B], nats, 0 where all is well.
  """
  mask = fields["completion_mask"] > 0
  worst = jnp.zeros(mask.shape[0], jnp.float32)
  for name, values in fields.items():
    if values.shape != mask.shape:
      continue
    inside = mask
    if name.startswith("teacher_") and "has_teacher" in fields:
      # A row without a teacher holds whatever the absence left there.
      inside = mask & (fields["has_teacher"] > 0)[:, None]
    if name.endswith("logprobs"):
      beyond = values
    elif name.endswith("entropies"):
      beyond = -values
    else:
      continue
    found = jnp.max(jnp.where(inside, beyond, 0.0), axis=1, initial=0.0)
    worst = jnp.maximum(worst, jax.lax.stop_gradient(found))
  return worst


def check_possible(step: int, metrics: Mapping[str, float]) -> None:
  """Stops a run whose log-probs or entropies cannot be.

  Raises:
    errors.UserError: with the value.
  """
  beyond = metrics.get(IMPOSSIBLE, 0.0)
  if beyond > checks.ROUNDING:
    raise errors.UserError(
      f"step {step} has log-probabilities above 0 or entropies below 0, by"
      f" {beyond:.3g} nats: what computed them is wrong, such as a kernel on"
      " this device (config.model.attention='xla' does without those of"
      " attention); the last checkpoint is untouched"
    )


def skipped_in_a_row(lines: list[Mapping[str, Any]]) -> int:
  """At how many of the last steps an update was left out.

  Args:
    lines: of metrics.jsonl.
  """
  number = 0
  while number < len(lines) and lines[-1 - number].get(SKIPPED):
    number += 1
  return number


def keep_skipped(
  step: int,
  metrics: dict[str, float],
  rollouts: records.RolloutBatch,
  replayed: records.RolloutBatch | None,
  folder: pathlib.Path,
) -> str:
  """Keeps the batch of an update that was left out; says what was wrong."""
  path = folder / workdir_lib.SKIPPED / f"step_{step}.npz"
  rollouts, replayed = hosts.whole((rollouts, replayed))
  arrays = {
    k: v for k, v in vars(rollouts).items() if isinstance(v, np.ndarray)
  }
  with hosts.together():
    if hosts.is_first():
      rollout_files.write(path, rollouts, replayed)
  why = blamed(metrics, arrays)
  return f"step {step} left an update out: not finite were {why}; see {path}"


def check_skipped(config: NumericsConfig, number: int, told: str) -> None:
  """Stops a run that leaves out one update after another.

  Args:
    config: how many are allowed.
    number: of steps in a row that did.
    told: of the last, see `keep_skipped`.

  Raises:
    errors.UserError: if there are config.numerics.max_skipped of them.
  """
  if number >= config.max_skipped:
    raise errors.UserError(
      f"{number} steps in a row left an update out (config.numerics.max_skipped"
      f" is {config.max_skipped}); {told}: lower"
      " config.optimizer.learning_rate or config.optimizer.clip_norm, or mend"
      " what those batches have in common; the last checkpoint is untouched"
    )


def blamed(
  metrics: Mapping[str, float], batch: Mapping[str, np.ndarray]
) -> str:
  """What was not finite at a step, and where it came from as far as is known.

  Args:
    metrics: of the step; the parts of a loss are policy/<part>_loss.
    batch: what was learned from, on the host.
  """
  bad = [
    name
    for name, value in metrics.items()
    if name.startswith(_LEARNED) and not math.isfinite(value)
  ]
  try:
    checks.batch(batch)
  except errors.UserError as error:
    return f"{', '.join(bad)}, of a batch where {error}"
  return ", ".join(bad)
