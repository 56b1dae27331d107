"""Sampling on several cores of a CPU.

XLA runs the small matrix products of decoding on one core, however many there
are; programs that are called from threads of their own each get one.
"""

from collections.abc import Callable
from concurrent import futures
import functools
import math

import jax
import jax.numpy as jnp

from rlvr_jax import records
from rlvr_jax.rollouts import sampler

Sample = Callable[..., records.RolloutBatch]


def num_threads(
  wanted: int, config: sampler.SamplerConfig, mesh: jax.sharding.Mesh
) -> int:
  """Of threads that sample; 1 except on a single CPU.

  Args:
    wanted: if all rows are decoded at once; else there is one thread, since
      `slots` and `rows_per_pass` count the rows of one program.
    config: of the sampler.
    mesh: of the run.
  """
  is_one_cpu = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
  at_once = not (config.slots or config.rows_per_pass)
  return wanted if is_one_cpu and at_once else 1


def on_cores(sample: Sample, number: int) -> Sample:
  """A sampler that draws for some of its prompts in each of several threads.

  The rollouts are those of the whole batch: a draw depends on nothing beside
  its own row.

  Args:
    sample: compiled, (..., PromptBatch) -> RolloutBatch.
    number: of threads; where it does not divide the prompts, as many as the
      largest common divisor of both.
  """
  split = jax.jit(_split, static_argnums=1)
  join = jax.jit(_joined)

  def run(*args) -> records.RolloutBatch:
    *shared, prompts = args
    parts = math.gcd(number, prompts.prompt_ids.shape[0])
    # What is traced becomes a part of one program, which has no threads.
    if parts == 1 or isinstance(prompts.prompt_ids, jax.core.Tracer):
      return sample(*args)
    one = lambda part: jax.block_until_ready(sample(*shared, part))
    return join(prompts, list(_pool(number).map(one, split(prompts, parts))))

  return run


@functools.cache
def _pool(number: int) -> futures.ThreadPoolExecutor:
  return futures.ThreadPoolExecutor(number, "sampling")


def _split(
  prompts: records.PromptBatch, number: int
) -> list[records.PromptBatch]:
  into = lambda x: jnp.split(x, number)
  leaves, shape = jax.tree.flatten(prompts)
  parts = zip(*map(into, leaves), strict=True)
  return [jax.tree.unflatten(shape, part) for part in parts]


def _joined(
  prompts: records.PromptBatch, parts: list[records.RolloutBatch]
) -> records.RolloutBatch:
  # Who is done waits for the last.
  steps = functools.reduce(jnp.maximum, (part.decode_steps for part in parts))
  parts = [part.replace(prompts=None, decode_steps=steps) for part in parts]
  found = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
  num_prompts, num_rows = prompts.prompt_ids.shape[0], found.valid.shape[0]
  groups = jnp.arange(num_prompts, dtype=jnp.int32)
  return found.replace(
    prompts=prompts,
    group_ids=jnp.repeat(groups, num_rows // num_prompts),
  )
