"""Numbers that several functions of a method share, by step."""

import dataclasses

import jax
import jax.numpy as jnp

from rlvr_jax import names
from rlvr_jax import settings

_SHAPES = ("linear", "harmonic")


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A number that stays, or that moves from one value to another.

  Example: Schedule(20.0) is 20 at every step; Schedule(1.0, 2.0, 100) is 1.5
  at step 50 and 2 from step 100 on.
  """

  # The value, or the first one.
  start: float
  # The last one; reached after num_steps.
  stop: float = 0.0
  # Rollout batches from start to stop; 0 stays at start.
  num_steps: int = 0
  # "linear", or "harmonic": the reciprocal moves linearly.
  shape: str = "linear"

  def __post_init__(self):
    settings.require(
      self.shape in _SHAPES,
      f"shape is {self.shape!r}: {names.did_you_mean(self.shape, _SHAPES)}",
    )
    settings.require(
      self.num_steps > 0 or (self.num_steps == 0 and not self.stop),
      f"num_steps is {self.num_steps}, stop {self.stop}: say after how many"
      " rollout batches stop is reached, or leave both out",
    )
    settings.require(
      self.shape == "linear" or self.start * self.stop > 0,
      f"stop is {self.stop}, start {self.start}: a harmonic schedule needs two"
      " numbers of one sign",
    )

  def __call__(self, step: jax.Array | int) -> jax.Array:
    """Value after `step` rollout batches, f32[]."""
    if not self.num_steps:
      return jnp.asarray(self.start, jnp.float32)
    done = jnp.clip(jnp.asarray(step, jnp.float32) / self.num_steps, 0.0, 1.0)
    between = lambda a, b: a + (b - a) * done
    if self.shape == "harmonic":
      return 1.0 / between(1.0 / self.start, 1.0 / self.stop)
    return between(self.start, self.stop)

  @property
  def values(self) -> tuple[float, ...]:
    """First and last value."""
    return (self.start, self.stop) if self.num_steps else (self.start,)
