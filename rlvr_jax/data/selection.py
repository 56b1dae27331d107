"""Which prompts come next: prompt statistics and a key in, prompt ids out."""

import jax
import jax.numpy as jnp

from rlvr_jax import keys
from rlvr_jax import records
from rlvr_jax.data import prompts as prompts_lib


def uniform(
  seed: jax.Array | int,
  step: jax.Array | int,
  num_prompts: int,
  batch_size: int,
  stream: str = "select",
) -> jax.Array:
  """Every prompt once an epoch, in an order drawn anew for each epoch.

  A function of (seed, step) alone: a resumed run goes on with the prompts
  that it would have had. The last batch of an epoch takes the first prompts
  of the next.

  Args:
    seed: run seed.
    step: i32[].
    num_prompts: N, prompts in the data set.
    batch_size: prompts wanted.
    stream: random stream, see `keys.STREAMS`.

  Returns:
    i32[batch_size] prompt ids.
  """
  places = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  epochs, offsets = places // num_prompts, places % num_prompts
  order = lambda epoch: jax.random.permutation(
    keys.stream_key(seed, stream, epoch), num_prompts
  )
  first = epochs[0]
  # A batch larger than the data set goes on within the second order.
  following = jax.lax.cond(
    epochs[-1] > first, lambda: order(first + 1), lambda: order(first)
  )
  ids = jnp.where(epochs == first, order(first)[offsets], following[offsets])
  return ids.astype(jnp.int32)


def next_prompts(
  prompts: records.PromptBatch,
  seed: jax.Array,
  step: jax.Array,
  batch_size: int,
) -> records.PromptBatch:
  """The prompts of a step, out of all N of a split; pure."""
  num_prompts = prompts.prompt_ids.shape[0]
  return prompts_lib.take(prompts, uniform(seed, step, num_prompts, batch_size))
