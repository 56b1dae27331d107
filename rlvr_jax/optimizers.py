"""Optimizers as optax chains, described by a small record."""

import dataclasses

import optax

from rlvr_jax import names
from rlvr_jax import settings


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """AdamW after clipping the global norm of the gradient."""

  # Peak learning rate.
  learning_rate: float
  # Updates of linear warm-up from 0; a rollout batch may be several.
  warmup_steps: int = 0
  # "constant", or "cosine" down to `final_frac` over `decay_steps`.
  schedule: str = "constant"
  # Updates of the whole cosine schedule, warm-up included.
  decay_steps: int = 0
  # Share of the peak at the end of the cosine.
  final_frac: float = 0.1
  b1: float = 0.9
  b2: float = 0.999
  epsilon: float = 1e-8
  weight_decay: float = 0.0
  # Largest global norm of a gradient; 0 leaves it alone.
  clip_norm: float = 1.0

  def __post_init__(self):
    schedules = ("constant", "cosine")
    settings.require(
      self.schedule in schedules,
      f"optimizer.schedule is {self.schedule!r}:"
      f" {names.did_you_mean(self.schedule, schedules)}",
    )
    settings.require(
      self.learning_rate > 0,
      f"optimizer.learning_rate is {self.learning_rate}: set it above 0",
    )
    settings.require(
      self.schedule == "constant" or self.decay_steps > self.warmup_steps,
      f"optimizer.decay_steps is {self.decay_steps}: a cosine schedule needs"
      f" more than warmup_steps ({self.warmup_steps})",
    )


def learning_rate_schedule(config: OptimizerConfig) -> optax.Schedule:
  """Learning rate by optimizer step."""
  if config.schedule == "cosine":
    return optax.warmup_cosine_decay_schedule(
      init_value=0.0,
      peak_value=config.learning_rate,
      warmup_steps=config.warmup_steps,
      decay_steps=config.decay_steps,
      end_value=config.learning_rate * config.final_frac,
    )
  if config.warmup_steps:
    return optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
  return optax.constant_schedule(config.learning_rate)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
  """The optax chain that the record describes."""
  clip = (
    optax.clip_by_global_norm(config.clip_norm)
    if config.clip_norm
    else optax.identity()
  )
  return optax.chain(
    clip,
    optax.adamw(
      learning_rate_schedule(config),
      b1=config.b1,
      b2=config.b2,
      eps=config.epsilon,
      weight_decay=config.weight_decay,
    ),
  )
