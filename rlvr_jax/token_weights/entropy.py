"""Credit per token from the policy's entropy.

forking_token_mask: only the tokens of highest entropy learn.
steer_weights: less weight on tokens that would change the entropy most.
empg_weights: confident steps count more, and so does what precedes them.

Statistics are taken over the whole batch of one update, however it is split
over devices and micro-batches.
"""

import math

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import errors
from rlvr_jax import masked
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.token_weights.shape import TokenShape


def forking_token_mask(
  *,
  entropies: jax.Array,
  completion_mask: jax.Array,
  keep_frac: float = 0.2,
) -> TokenShape:
  """Mask of the tokens with the highest entropy in the batch.

  mask = 1 on the max(1, ceil(keep_frac * num_tokens)) largest entropies

  See "Beyond the 80/20 Rule: High-Entropy Minority Tokens Drive Effective
  Reinforcement Learning for LLM Reasoning", Wang et al.
  (https://arxiv.org/abs/2506.01939), section 5 [code:
  Shenzhi-Wang/Beyond-the-80-20-Rule-RLVR:verl/trainer/ppo/core_algos.py].
  There the mean runs over the kept tokens: set over_kept=True in the
  aggregate.
  Neutral setting: keep_frac=1 keeps every token.
  Differs from the paper: ranks over the batch of one update, where the
  released code ranks within each micro-batch. It masks, so a group of equal
  rewards still gets exactly 0.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import token_weights
    >>> token_weights.forking_token_mask(
    ...     entropies=jnp.array([[0.1, 2.0, 0.3], [0.2, 0.0, 0.5]]),
    ...     completion_mask=jnp.ones((2, 3)), keep_frac=0.3).mask.tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]

  Args:
    entropies: f32[B, T], nats, of the current policy, frozen.
    completion_mask: f32[B, T], tokens to choose from.
    keep_frac: share of them to keep.

  Returns:
    TokenShape with a mask.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(entropies=entropies, completion_mask=completion_mask)
  settings.require(
    0 < keep_frac <= 1, f"keep_frac is {keep_frac}: it is a share in (0, 1]"
  )
  budget = masked.share(keep_frac, jnp.sum(completion_mask), up=True)
  entropies = lax.stop_gradient(entropies)
  return TokenShape(mask=masked.largest(entropies, completion_mask, budget))


def steer_weights(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  entropies: jax.Array,
  token_advantages: jax.Array,
  completion_mask: jax.Array,
  schedule: str = "linear",
  weight_min: float = 0.8,
  weight_max: float = 1.2,
) -> TokenShape:
  """Weights that fall with the change of entropy a token would cause.

  omega = |A / exp(old_logprobs) * p * (1 - p) * (log p + entropy)| with
  p = exp(logprobs) in [1e-8, 1 - 1e-8]
  linear: weight_max - (weight_max - weight_min) * (omega - min) / (max - min)
  exponential: clip(exp(-k * omega), weight_min, 1) with
  k = -log(weight_min) / max(max omega, 0.02)

  See "Rethinking Entropy Interventions in RLVR: An Entropy Change
  Perspective" (https://arxiv.org/abs/2510.10150) [code:
  zz-haooo/STEER:verl/trainer/ppo/core_algos.py]. Equal omegas get
  (weight_min + weight_max) / 2 in the linear form.
  Neutral setting: weight_min = weight_max = 1 (linear).
  Differs from the paper: minimum and maximum run over the batch of one
  update, where the released code takes each micro-batch. It multiplies, so a
  group of equal rewards still gets exactly 0.

  Example: a two-way split at 1/2 changes no entropy and keeps full weight.
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import token_weights
    >>> half = jnp.log(jnp.array([[0.5, 0.9]]))
    >>> shape = token_weights.steer_weights(
    ...     logprobs=half, old_logprobs=half,
    ...     entropies=jnp.array([[0.693147, 0.32508]]),
    ...     token_advantages=jnp.ones((1, 2)),
    ...     completion_mask=jnp.ones((1, 2)))
    >>> np.asarray(shape.weight, float).round(4).tolist()
    [[1.2, 0.8]]

  Args:
    logprobs: f32[B, T], current policy, frozen here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    entropies: f32[B, T], nats, of the current policy, frozen.
    token_advantages: f32[B, T], frozen.
    completion_mask: f32[B, T], tokens that the statistics count.
    schedule: "linear" or "exponential".
    weight_min: weight of the largest change.
    weight_max: weight of the smallest change; linear only.

  Returns:
    TokenShape with weights.

  Raises:
    ValueError: for an unknown schedule, or for shapes or values that cannot be
      right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    entropies=entropies,
    token_advantages=token_advantages,
    completion_mask=completion_mask,
  )
  if schedule not in ("linear", "exponential"):
    raise errors.UserError(
      f"steer_weights schedule is {schedule!r}:"
      f" {names.did_you_mean(schedule, ('linear', 'exponential'))}"
    )
  settings.require(
    0 < weight_min <= weight_max,
    f"weight_min is {weight_min}: set it above 0 and not above weight_max"
    f" ({weight_max})",
  )
  inside = completion_mask > 0
  logprobs, entropies = map(lax.stop_gradient, (logprobs, entropies))
  probs = jnp.clip(jnp.exp(logprobs), 1e-8, 1.0 - 1e-8)
  change = jnp.abs(
    token_advantages
    * jnp.exp(-old_logprobs)
    * probs
    * (1.0 - probs)
    * (jnp.log(probs) + entropies)
  )
  change = jnp.where(inside, change, 0.0)
  top = jnp.max(change, initial=0.0)
  if schedule == "exponential":
    rate = -math.log(weight_min) / jnp.maximum(top, 0.02)
    weight = jnp.clip(jnp.exp(-rate * change), weight_min, 1.0)
    return TokenShape(weight=weight)
  low = jnp.min(jnp.where(inside, change, jnp.inf), initial=jnp.inf)
  width = top - low
  equal = ~(width > 0)
  fall = (change - low) / jnp.where(equal, 1.0, width)
  weight = weight_max - (weight_max - weight_min) * fall
  middle = 0.5 * (weight_min + weight_max)
  return TokenShape(weight=jnp.where(equal | ~inside, middle, weight))


def empg_weights(
  *,
  frozen_entropies: jax.Array,
  segment_ids: jax.Array,
  token_advantages: jax.Array,
  completion_mask: jax.Array,
  sharpness: float = 1.0,
  future_sharpness: float = 1.0,
  future_coef: float = 0.1,
) -> TokenShape:
  """Advantages scaled by a step's certainty, with a bonus for clear futures.

  h_s = mean entropy of step s, hn = (h - min) / (max - min + 1e-8) over the
  steps of the batch; g = exp(-sharpness * hn) / mean(exp(-sharpness * hn)),
  f = exp(-future_sharpness * hn);
  A_s = A * g_s + future_coef * f_{s+1}, minus the mean over all tokens

  See "Harnessing Uncertainty: Entropy-Modulated Policy Gradients for
  Long-Horizon LLM Agents" (https://arxiv.org/abs/2509.09265) [paper excerpt:
  project page]. The last step of a row has no future term.
  That the final mean runs over tokens, not steps, is [inferred].
  Neutral setting: sharpness=0 and future_coef=0 leave the advantages minus
  their mean.
  Differs from the paper: no. It adds: a group of equal rewards gets credit
  from the future term and from the centring.

  Example: three steps of one token with entropies 0.2, 0.6 and 1.
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from rlvr_jax import token_weights
    >>> shape = token_weights.empg_weights(
    ...     frozen_entropies=jnp.array([[0.2, 0.6, 1.0]]),
    ...     segment_ids=jnp.array([[0, 1, 2]]),
    ...     token_advantages=jnp.ones((1, 3)),
    ...     completion_mask=jnp.ones((1, 3)))
    >>> np.asarray(shape.weight + shape.bonus, float).round(3).tolist()
    [[0.548, -0.074, -0.474]]

  Args:
    frozen_entropies: f32[B, T], nats, of the sampling policy.
    segment_ids: i32[B, T], step of each token, 0 .. T - 1 without gaps within
      a row; -1 outside of any step.
    token_advantages: f32[B, T], frozen.
    completion_mask: f32[B, T], tokens that the statistics count.
    sharpness: k, how fast the weight falls with entropy.
    future_sharpness: k', the same for the next step's certainty.
    future_coef: zeta, weight of the next step's certainty.

  Returns:
    TokenShape with weights and bonuses; tokens outside of any step keep
    weight 1 and get the centring alone.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    frozen_entropies=frozen_entropies,
    segment_ids=segment_ids,
    token_advantages=token_advantages,
    completion_mask=completion_mask,
  )
  num_tokens = segment_ids.shape[1]
  weights = jnp.where(segment_ids >= 0, completion_mask, 0.0)
  step = jnp.clip(segment_ids, 0, num_tokens - 1)

  # One slot more than a row can fill: the future of its last step.
  per_step = jax.vmap(
    lambda values, ids: jax.ops.segment_sum(values, ids, num_tokens + 1)
  )
  counts = per_step(weights, step)
  sums = per_step(jnp.where(weights > 0, frozen_entropies, 0.0) * weights, step)
  present = counts > 0
  means = sums / jnp.where(present, counts, 1.0)
  low = jnp.min(jnp.where(present, means, jnp.inf), initial=jnp.inf)
  high = jnp.max(jnp.where(present, means, -jnp.inf), initial=-jnp.inf)
  scaled = jnp.where(present, means - low, 0.0) / (
    jnp.where(high > low, high - low, 0.0) + 1e-8
  )
  # A step weighs what its row does, not how many tokens it has.
  rows = masked.row_weights(completion_mask)[:, None]
  step_weights = jnp.where(present, rows, 0.0)
  certain = jnp.exp(-sharpness * scaled)
  total = jnp.sum(step_weights)
  mean = jnp.sum(step_weights * certain) / jnp.where(total > 0, total, 1.0)
  gain = certain / jnp.where(mean > 0, mean, 1.0)
  future = jnp.where(present, jnp.exp(-future_sharpness * scaled), 0.0)

  inside = weights > 0
  lookup = lambda table, ids: jnp.take_along_axis(table, ids, axis=1)
  weight = jnp.where(inside, lookup(gain, step), 1.0)
  bonus = jnp.where(inside, future_coef * lookup(future, step + 1), 0.0)
  shaped = token_advantages * weight + bonus
  centre = masked.masked_mean(shaped, completion_mask).value()
  return TokenShape(weight=weight, bonus=bonus - centre)
