"""How well an estimate of accuracy holds against what was measured.

A measured share of n samples scatters around the true accuracy: even a
perfect estimate misses it by `counting_error` on average.
"""

import math

import jax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records

# Of the estimates, in a plot of calibration.
NUM_BINS = 10


def counting_error(accuracy: jax.Array, num_samples: int) -> jax.Array:
  """E |k / n - p| for k ~ Binomial(n, p); any shape.

  Example: counting_error(0.5, 8) = 0.136719, counting_error(0.0, 8) = 0.

  Args:
    accuracy: p, clipped to [0, 1] here.
    num_samples: n.
  """
  p = jnp.clip(accuracy, 0.0, 1.0)
  error = lambda k: _binomial(k, num_samples, p) * jnp.abs(k / num_samples - p)
  return sum(error(k) for k in range(num_samples + 1))


def mixed_chance(accuracy: jax.Array, num_samples: int) -> jax.Array:
  """Chance 1 - p^n - (1 - p)^n that n samples are not all alike."""
  p = jnp.clip(accuracy, 0.0, 1.0)
  return 1.0 - p**num_samples - (1.0 - p) ** num_samples


def rank_correlation(
  a: jax.Array, b: jax.Array, weights: jax.Array
) -> jax.Array:
  """Spearman's correlation, f32[]; ties share their mean rank.

  Args:
    a: f32[G].
    b: f32[G].
    weights: f32[G], 0 on entries to leave out.

  Returns:
    0 where either side is constant.
  """
  inside = (weights > 0).astype(a.dtype)

  def ranks(x):
    below = (x[None] < x[:, None]).astype(x.dtype)
    equal = (x[None] == x[:, None]).astype(x.dtype)
    rank = jnp.sum((below + 0.5 * equal) * inside[None], axis=1)
    return rank - masked.masked_mean(rank, inside).value()

  x, y = ranks(a) * inside, ranks(b) * inside
  norm = jnp.sqrt(jnp.sum(x * x) * jnp.sum(y * y))
  return jnp.where(norm > 0, jnp.sum(x * y) / jnp.where(norm > 0, norm, 1), 0)


def calibration(rollouts: records.RolloutBatch) -> dict[str, jax.Array]:
  """An estimate made before sampling against the samples, f32[] by name.

  Args:
    rollouts: judged; prompts with accuracy_estimates, and with `explored`
      where some of them were drawn uniformly.

  Returns:
    error: mean |estimate - share right|, the estimate clipped to [0, 1].
    bias: mean of estimate - share right, likewise clipped: a head that is left
      behind has one.
    excess_error: the error less what counting noise gives a perfect estimate;
      about 0 for one, and never far below.
    rank_correlation: Spearman's, over prompts.
    outside_frac: share of estimates outside [0, 1].
    mixed_frac_expected: share of groups with more than one verdict if the
      estimates were right.
    mixed_frac_selected, mixed_frac_explored: share of groups with more than
      one verdict among prompts chosen for their estimate, and among those
      drawn uniformly: the control. Null where there are none.
  """
  estimates = rollouts.prompts.accuracy_estimates
  accuracy, weights = _measured(rollouts)
  samples = rollouts.valid.shape[0] // estimates.shape[0]
  mean = lambda x: masked.masked_mean(x, weights).value()
  clipped = jnp.clip(estimates, 0.0, 1.0)
  error = jnp.abs(clipped - accuracy)
  found = {
    "error": mean(error),
    "bias": mean(clipped - accuracy),
    "excess_error": mean(error - counting_error(clipped, samples)),
    "rank_correlation": rank_correlation(estimates, accuracy, weights),
    "outside_frac": mean((clipped != estimates).astype(jnp.float32)),
    "mixed_frac_expected": mean(mixed_chance(clipped, samples)),
  }
  if rollouts.prompts.explored is not None:
    mixed = ((accuracy > 0) & (accuracy < 1)).astype(jnp.float32)
    explored = rollouts.prompts.explored
    for name, chosen in (("explored", explored), ("selected", 1.0 - explored)):
      share = masked.masked_mean(mixed, weights * chosen)
      found[f"mixed_frac_{name}"] = jnp.where(
        share.count > 0, share.value(), jnp.nan
      )
  return {f"curriculum/{name}": value for name, value in found.items()}


def bins(rollouts: records.RolloutBatch) -> dict[str, jax.Array]:
  """Estimates and samples by size of the estimate, to be added up over steps.

  Bin i of `NUM_BINS` holds the prompts with an estimate in [i, i + 1) /
  NUM_BINS, after clipping to [0, 1]; the last one those with an estimate of 1
  as well.

  Args:
    rollouts: as for `calibration`.

  Returns:
    By name, f32[] each, for each bin: calibration/<i>/prompts, how many;
    calibration/<i>/estimate_sum and calibration/<i>/accuracy_sum over them.
  """
  accuracy, weights = _measured(rollouts)
  estimates = jnp.clip(rollouts.prompts.accuracy_estimates, 0.0, 1.0)
  # Sums are over whole bins, so that a step without prompts in one adds 0.
  index = jnp.minimum(jnp.floor(NUM_BINS * estimates), NUM_BINS - 1)
  found = {}
  for i in range(NUM_BINS):
    inside = weights * (index == i).astype(weights.dtype)
    found |= {
      f"calibration/{i}/prompts": jnp.sum(inside),
      f"calibration/{i}/estimate_sum": masked.masked_sum(estimates, inside),
      f"calibration/{i}/accuracy_sum": masked.masked_sum(accuracy, inside),
    }
  return found


def _measured(rollouts: records.RolloutBatch) -> tuple[jax.Array, jax.Array]:
  """Share right of each prompt, f32[G], and 1 where any sample was judged."""
  num_prompts = rollouts.prompts.prompt_ids.shape[0]
  by_prompt = lambda x: x.reshape(num_prompts, -1)
  accuracy = masked.group_mean(
    rollouts.is_correct, rollouts.group_ids, rollouts.valid
  )
  judged = jnp.sum(by_prompt(rollouts.valid), axis=1)
  return by_prompt(accuracy)[:, 0], (judged > 0).astype(jnp.float32)


def _binomial(k: int, n: int, p: jax.Array) -> jax.Array:
  """Probability of k successes out of n, for any n that fits a float."""
  log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
  xlogy = lambda x, y: jax.scipy.special.xlogy(jnp.full_like(y, x), y)
  return jnp.exp(log_choose + xlogy(k, p) + xlogy(n - k, 1.0 - p))
