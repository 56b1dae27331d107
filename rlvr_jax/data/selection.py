"""Which prompts come next: prompt statistics in, prompt ids out.

uniform: every prompt once an epoch.
nearest_accuracy: those whose estimated accuracy is nearest to a target.

Functions are bound by the names of their arguments, as objectives are; a run
fills these: seed, step i32[], num_prompts, batch_size (how many to choose),
accuracy_estimates f32[N], candidates f32[N], visits and last_steps i32[N],
excess_error f32[]. They return i32[batch_size] prompt ids and f32[batch_size],
1 on those that were drawn uniformly.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import keys
from rlvr_jax import settings

# Distances that round to the same multiple are ties; drawn anew at each step.
_TIE = 1e-6


def uniform(
  *,
  seed: jax.Array | int,
  step: jax.Array | int,
  num_prompts: int,
  batch_size: int,
  stream: str = "select",
) -> tuple[jax.Array, jax.Array]:
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
    i32[batch_size] prompt ids, and ones.
  """
  places = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  epochs, offsets = places // num_prompts, places % num_prompts
  order = lambda epoch: jax.random.permutation(
    keys.stream_key(seed, stream, epoch), num_prompts
  )
  first = epochs[0]
  current = order(first)
  # A batch larger than the data set goes on within the second order.
  following = jax.lax.cond(
    epochs[-1] > first, lambda: order(first + 1), lambda: current
  )
  ids = jnp.where(epochs == first, current[offsets], following[offsets])
  return ids.astype(jnp.int32), jnp.ones(batch_size, jnp.float32)


def nearest_accuracy(
  *,
  accuracy_estimates: jax.Array,
  candidates: jax.Array,
  last_steps: jax.Array,
  excess_error: jax.Array,
  seed: jax.Array | int,
  step: jax.Array | int,
  batch_size: int,
  target: float = 0.5,
  explore_frac: float = 0.0,
  no_repeat_frac: float = 0.0,
  warmup_steps: int = 0,
  warmup_error: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
  """The prompts whose estimated accuracy is nearest to a target.

  argmin |clip(estimate, 0, 1) - target|, batch_size of them; a share of the
  batch is drawn uniformly from all candidates instead

  See "Beyond Normalization: Rethinking the Partition Function as a Difficulty
  Scheduler for RLVR", Kim et al. (https://arxiv.org/abs/2602.12642): greedy,
  target 0.5 [paper excerpt: digest]. Exploration, the no-repeat window and the
  warm-up are ours [inferred]: without them, prompts that are never chosen keep
  estimates that nothing corrects.

  Args:
    accuracy_estimates: f32[N], not necessarily within [0, 1].
    candidates: f32[N], 0 on prompts that cannot be chosen.
    last_steps: i32[N], when each prompt was last trained on; -1 never.
    excess_error: f32[], of the last step's estimates, beyond counting noise.
    seed: run seed.
    step: i32[], rollout batches so far.
    batch_size: prompts wanted, at most the number of candidates.
    target: accuracy wanted.
    explore_frac: share of the batch that is drawn uniformly; 1 is uniform
      sampling.
    no_repeat_frac: share of an epoch for which a chosen prompt rests, below 1.
    warmup_steps: steps of uniform sampling at the start.
    warmup_error: the warm-up ends early once the excess error is below this;
      0 for never.

  Returns:
    i32[batch_size] prompt ids, and f32[batch_size], 1 on those drawn
    uniformly.

  Raises:
    ValueError: for a share outside of its range.
  """
  settings.require(
    0 <= explore_frac <= 1,
    f"explore_frac is {explore_frac}: it is a share in [0, 1]",
  )
  settings.require(
    0 <= no_repeat_frac < 1,
    f"no_repeat_frac is {no_repeat_frac}: it is a share in [0, 1), or no"
    " prompt would be left",
  )
  num_prompts = accuracy_estimates.shape[0]
  key = keys.stream_key(seed, "explore", step)
  noise, tie = jax.random.uniform(key, (2, num_prompts), jnp.float32)
  # Steps; floored, so that enough prompts are left for a batch.
  rest = int(no_repeat_frac * num_prompts) // batch_size
  resting = (last_steps >= 0) & (step - last_steps <= rest)
  excluded = ~(candidates > 0)

  num_explored = round(explore_frac * batch_size)
  distance = jnp.abs(jnp.clip(accuracy_estimates, 0.0, 1.0) - target)
  # A prompt that rests is taken only if too few others are left.
  near = _first(
    batch_size - num_explored,
    excluded,
    resting,
    jnp.round(distance / _TIE),
    tie,
  )
  taken = jnp.zeros(num_prompts, bool).at[near].set(True)
  chosen = jnp.concatenate([near, _first(num_explored, taken, excluded, noise)])
  explored = jnp.arange(batch_size) >= batch_size - num_explored

  warm = step < warmup_steps
  if warmup_error > 0:
    warm &= ~(excess_error < warmup_error)
  anywhere = _first(batch_size, excluded, noise)
  ids = jnp.where(warm, anywhere, chosen).astype(jnp.int32)
  return ids, (explored | warm).astype(jnp.float32)


def _first(count: int, *ranks: jax.Array) -> jax.Array:
  """Indices of the smallest entries by the first rank, then the next, ..."""
  return jnp.lexsort(ranks[::-1])[:count]
