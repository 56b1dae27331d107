"""A step followed by its shapes alone."""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlvr_jax import programs as programs_lib


class Call(NamedTuple):
  """A program and what it is called with.

  Attributes:
    function: of `Programs`.
    args: shapes of its arrays.
    static: what follows them.
    state: of the run, which lies on the devices whatever of it is read.
  """

  function: Callable[..., Any]
  args: tuple[Any, ...]
  static: tuple[Any, ...] = ()
  state: Any = None

  def lowered(self) -> jax.stages.Lowered:
    """The program, ready to be compiled."""
    function = self.function
    if not hasattr(function, "lower"):
      # Of two programs with a verifier between them.
      function = jax.jit(function)
    return function.lower(*self.args, *self.static)

  def unread_bytes(self, argument_bytes: int) -> int:
    """What a device holds of the state beside a program's arguments.

    Args:
      argument_bytes: of a device's arguments; all but a little are of the
        state.
    """
    sizes = [
      math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
      for x in jax.tree.leaves(self.state)
    ]
    return max(sum(sizes) - argument_bytes, 0)


def trace(programs: programs_lib.Programs) -> dict[str, Call]:
  """Follows the shapes through a step, before anything is computed.

  A setting that a function refuses is refused here, at the cost of a second
  that the first step then saves.

  Returns:
    The step's programs in their order, with the shapes that each is called
    with.

  Raises:
    errors.UserError: with the name, the value and the remedy.
  """
  calls = {}

  def shapes(name: str, *args, static: tuple = ()):
    function = getattr(programs, name)
    calls[name] = Call(function, args, static, programs.train.abstract)
    return jax.eval_shape(lambda *x: function(*x, *static), *args)

  state, prompts = programs.train.abstract, programs.task.train.prompts
  if programs.embed:
    shapes("embed", state.params, prompts)
    prompts = prompts.replace(embeddings=programs.embeddings)
  measured = None
  if programs.pool_size:
    size = (programs.pool_size,)
    pool = shapes("pool", prompts, state.seed, state.step, static=size)
    measured, _ = shapes("measure", state.params, state.seed, state.step, pool)
  number = jax.ShapeDtypeStruct((), jnp.int32)
  plan, replay, _ = shapes("plan", state, prompts, measured, number)
  rollouts, _ = shapes(
    "collect", state.params, state.seed, state.step, plan.prompts
  )
  state = state.replace(replay=replay)
  if programs.teach:
    rollouts, _ = shapes("teach", state, rollouts)
  shapes("train_step", state, rollouts, plan.replayed)
  return calls
