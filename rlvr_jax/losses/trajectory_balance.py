"""Trajectory balance: match log-ratios to rewards and a log-partition.

seq_logratio: log-ratio of a whole completion to its anchor.
tb_residual: what the balance condition misses by.
vargrad_log_z: the log-partition that the samples of a prompt agree on best.
flowrl_weight: importance weight of a whole completion.
trajectory_balance: weighted squared residuals.
PRESETS: settings of the published members of the family.

One number, `inv_temp` = kappa, multiplies rewards. FlowRL's papers and code
call it beta and multiply by it (15); PACED-RL, TBA and the literature of RLHF
divide by theirs (PACED-RL 0.05, which is kappa 20; TBA 0.014 to 0.004, which
is kappa 71 to 250).
"""

import math
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked
from rlvr_jax import names
from rlvr_jax import settings
from rlvr_jax.losses import ratios

_LENGTH_NORMS = ("none", "token")
_W_MODES = ("none", "sequence", "token")
_UNITS = ("nats", "accuracy")
_MEANS = ("group", "batch")


class Balance(NamedTuple):
  """A trajectory-balance loss and what it is made of, per response.

  Attributes:
    losses: f32[B].
    residuals: f32[B], nats.
    raw_weights: f32[B], importance weights before the clip, frozen.
    weights: f32[B], after it.
  """

  losses: jax.Array
  residuals: jax.Array
  raw_weights: jax.Array
  weights: jax.Array


_FLOWRL = dict(
  anchor="ref_logprobs",
  z_source="head",
  rewards="advantages",
  inv_temp=15.0,
  length_norm="token",
  w_mode="sequence",
)
_PACED = dict(
  anchor="old_logprobs", z_source="head", rewards="rewards", inv_temp=20.0
)
_GROUP = dict(anchor="ref_logprobs", z_source="group", rewards="rewards")
# What the members of the family differ in. "anchor" names the field that
# `anchor_logprobs` takes, "z_source" where `log_partition` comes from, and
# "rewards" the field that `rewards` takes; the other keys are arguments of
# `trajectory_balance` and numbers of the method.
PRESETS = {
  "flowrl_paper": dict(_FLOWRL, w_low=0.8, w_high=1.2),
  "flowrl_code": dict(_FLOWRL, w_low=0.0, w_high=math.inf),
  "flowrl_recipe": dict(_FLOWRL, w_low=0.0, w_high=10.0),
  "paced": dict(_PACED, units="accuracy"),
  "paced_faithful": _PACED,
  "vargrad": dict(_GROUP, inv_temp=1.0 / 0.014),
  "gflowrl": dict(
    _GROUP, inv_temp=8.0, w_mode="sequence", w_low=0.0, w_high=2.0
  ),
  "for": dict(
    anchor="zero_anchor",
    z_source="batch",
    rewards="rewards",
    inv_temp=math.log(100.0 / 1e-4),
  ),
}


def seq_logratio(
  *,
  logprobs: jax.Array,
  anchor_logprobs: jax.Array,
  completion_mask: jax.Array,
  length_norm: str = "none",
) -> jax.Array:
  """Log-ratio of each completion to its anchor.

  sum_t mask * (logprobs - anchor_logprobs), over |y| with length_norm "token"

  See "Trajectory balance: Improved credit assignment in GFlowNets", Malkin et
  al. (https://arxiv.org/abs/2201.13259); the mean over tokens is FlowRL's
  (https://arxiv.org/abs/2509.15207) [code: Xuekai-Zhu/FlowRL:README.md].
  Neutral setting: an anchor equal to the policy gives 0.
  Differs from the paper: the mean is over exactly |y| tokens, where FlowRL's
  code has |y| + 1e-8.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.seq_logratio(
    ...     logprobs=jnp.array([[-1.0, -2.0, -9.0]]),
    ...     anchor_logprobs=jnp.array([[-1.5, -2.5, 0.0]]),
    ...     completion_mask=jnp.array([[1.0, 1.0, 0.0]])).tolist()
    [1.0]

  Args:
    logprobs: f32[B, T], nats; gradients flow here.
    anchor_logprobs: f32[B, T], nats, of the same tokens.
    completion_mask: f32[B, T], 1 on generated tokens.
    length_norm: "none" for the sum over tokens, "token" for the mean. The mean
      changes the optimum, not only the gradient: with completions of one
      length L the effective kappa is L * kappa, and with several lengths the
      optimum is no Gibbs distribution.

  Returns:
    f32[B], nats (nats per token with "token"); 0 for an empty completion.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    anchor_logprobs=anchor_logprobs,
    completion_mask=completion_mask,
  )
  _choice("length_norm", length_norm, _LENGTH_NORMS)
  return _mean_or_sum(logprobs - anchor_logprobs, completion_mask, length_norm)


def tb_residual(
  *,
  logprobs: jax.Array,
  anchor_logprobs: jax.Array,
  log_partition: jax.Array,
  rewards: jax.Array,
  completion_mask: jax.Array,
  inv_temp: jax.Array,
  length_norm: str = "none",
) -> jax.Array:
  """What the balance condition misses by, per response.

  log_partition + log(pi / anchor)(y) - kappa * r(y)

  It is 0 for every y if and only if pi is anchor * exp(kappa * r) / Z and
  log_partition is log Z (without length norm).

  See "Trajectory balance: Improved credit assignment in GFlowNets", Malkin et
  al. (https://arxiv.org/abs/2201.13259). FlowRL writes beta * r
  (https://arxiv.org/abs/2509.15207), PACED-RL r / beta
  (https://arxiv.org/abs/2602.12642) [paper excerpt: digest].
  Neutral setting: kappa towards 0 leaves the log-ratio and the partition.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.tb_residual(
    ...     logprobs=jnp.array([[-1.0, -2.0]]),
    ...     anchor_logprobs=jnp.array([[-1.5, -2.5]]),
    ...     log_partition=jnp.array([10.0]), rewards=jnp.array([1.0]),
    ...     completion_mask=jnp.ones((1, 2)),
    ...     inv_temp=jnp.array(20.0)).tolist()
    [-9.0]

  Args:
    logprobs: f32[B, T], nats, current policy; gradients flow here.
    anchor_logprobs: f32[B, T], nats, frozen.
    log_partition: f32[B], nats, of the row's prompt; gradients flow here.
    rewards: f32[B]; 0 on rows without tokens, whatever stands there.
    completion_mask: f32[B, T], 1 on generated tokens.
    inv_temp: f32[], kappa, above 0.
    length_norm: see `seq_logratio`.

  Returns:
    f32[B], nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    anchor_logprobs=anchor_logprobs,
    log_partition=log_partition,
    rewards=rewards,
    completion_mask=completion_mask,
    inv_temp=inv_temp,
  )
  _choice("length_norm", length_norm, _LENGTH_NORMS)
  ratio = _mean_or_sum(logprobs - anchor_logprobs, completion_mask, length_norm)
  wanted = inv_temp * _known(rewards, completion_mask)
  return log_partition + ratio - wanted


def vargrad_log_z(
  *,
  logprobs: jax.Array,
  anchor_logprobs: jax.Array,
  rewards: jax.Array,
  group_ids: jax.Array,
  valid: jax.Array,
  completion_mask: jax.Array,
  inv_temp: jax.Array,
  length_norm: str = "none",
  mean_over: str = "group",
) -> jax.Array:
  """The log-partition at which a prompt's squared residuals are least.

  mean over the group of kappa * r - log(pi / anchor)(y), frozen

  See "VarGrad: A Low-Variance Gradient Estimator for Variational Inference",
  Richter et al. (https://arxiv.org/abs/2010.10436), for language models
  "Trajectory Balance with Asynchrony" (https://arxiv.org/abs/2503.18929)
  [code: bbartoldson/TBA:src/tba_trainer_gsm8k.py]. mean_over="batch" is "Flow
  of Reasoning" (https://arxiv.org/abs/2406.05673) [code: Yu-Fangxu/FoR:
  GSM8K/util.py].
  Neutral setting: the policy at its anchor gives kappa times the group's mean
  reward.
  Differs from the paper: groups go by group_ids, where TBA's code averages a
  fixed axis of a micro-batch and so needs each to be one group. Flow of
  Reasoning has no stop-gradient: the gradient is the same, since the residuals
  of a group sum to 0.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> same = jnp.full((4, 1), -1.0)
    >>> losses.vargrad_log_z(
    ...     logprobs=same, anchor_logprobs=same,
    ...     rewards=jnp.array([1.0, 0.0, 1.0, 0.0]),
    ...     group_ids=jnp.zeros(4, jnp.int32), valid=jnp.ones(4),
    ...     completion_mask=jnp.ones((4, 1)),
    ...     inv_temp=jnp.array(20.0)).tolist()
    [10.0, 10.0, 10.0, 10.0]

  Args:
    logprobs: f32[B, T], nats, frozen here.
    anchor_logprobs: f32[B, T], nats, frozen.
    rewards: f32[B].
    group_ids: i32[B], prompt of each row.
    valid: f32[B], 0 on rows that do not count.
    completion_mask: f32[B, T], 1 on generated tokens.
    inv_temp: f32[], kappa, above 0.
    length_norm: see `seq_logratio`; the same as in the loss.
    mean_over: "group" for one number per prompt, "batch" for one in all.

  Returns:
    f32[B], nats; rows of a group hold the same number, also invalid ones.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    anchor_logprobs=anchor_logprobs,
    rewards=rewards,
    group_ids=group_ids,
    valid=valid,
    completion_mask=completion_mask,
    inv_temp=inv_temp,
  )
  _choice("length_norm", length_norm, _LENGTH_NORMS)
  _choice("mean_over", mean_over, _MEANS)
  ratio = _mean_or_sum(
    lax.stop_gradient(logprobs - anchor_logprobs), completion_mask, length_norm
  )
  wanted = inv_temp * rewards - ratio
  weights = valid * _has_tokens(completion_mask).astype(valid.dtype)
  if mean_over == "batch":
    group_ids = jnp.zeros_like(group_ids)
  return masked.group_mean(wanted, group_ids, weights)


def flowrl_weight(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  completion_mask: jax.Array,
  w_mode: str = "sequence",
  w_low: float = 0.0,
  w_high: float = 10.0,
) -> jax.Array:
  """Clipped importance weight of a completion, frozen.

  clip(exp(sum_t mask * (logprobs - old_logprobs)), w_low, w_high)

  See "FlowRL: Matching Reward Distributions for LLM Reasoning", Zhu et al.
  (https://arxiv.org/abs/2509.15207): the paper clips to [1 - eps, 1 + eps]
  [paper excerpt: digest], its code computes that clip and then uses the weight
  unclipped, the maintained recipe has a maximum of 10, the default here [code:
  verl-project/verl-recipe:flowrl/flowrl_actor.py].
  Neutral setting: w_mode "none", or a policy that has not moved, gives 1.
  Differs from the paper: the exponent is held within 20 nats of 0 and the clip
  is taken before exp, so that no completion is long enough to overflow.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> old = jnp.full((1, 1000), -1.0)
    >>> losses.flowrl_weight(
    ...     logprobs=old + 0.01, old_logprobs=old,
    ...     completion_mask=jnp.ones((1, 1000))).tolist()
    [10.0]

  Args:
    logprobs: f32[B, T], nats, current policy, frozen here.
    old_logprobs: f32[B, T], nats, trainer's policy at rollout time.
    completion_mask: f32[B, T], 1 on generated tokens.
    w_mode: "sequence" (exponent summed over tokens), "token" (its mean) or
      "none" (all weights 1).
    w_low: smallest weight.
    w_high: largest weight; infinity for none.

  Returns:
    f32[B].

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    completion_mask=completion_mask,
  )
  _choice("w_mode", w_mode, _W_MODES)
  _check_band(w_low, w_high)
  exponent = _exponent(logprobs, old_logprobs, completion_mask, w_mode)
  return _clipped_weight(exponent, w_low, w_high)


def trajectory_balance(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  anchor_logprobs: jax.Array,
  log_partition: jax.Array,
  rewards: jax.Array,
  completion_mask: jax.Array,
  inv_temp: jax.Array,
  length_norm: str = "none",
  w_mode: str = "none",
  w_low: float = 0.0,
  w_high: float = 10.0,
  residual_low: float = -math.inf,
  residual_high: float = math.inf,
  units: str = "nats",
) -> Balance:
  """Weighted squared residuals of the balance condition.

  w * (log_partition + log(pi / anchor)(y) - kappa * r(y))^2

  anchor = ref_logprobs: TB, FlowRL, TBA; old_logprobs: PACED-RL, whose anchor
  moves with the policy. log_partition = a head's output: FlowRL, PACED-RL;
  `vargrad_log_z`: TBA, GFlowRL, Flow of Reasoning. PRESETS lists them.

  See "FlowRL: Matching Reward Distributions for LLM Reasoning", Zhu et al.
  (https://arxiv.org/abs/2509.15207) [code: Xuekai-Zhu/FlowRL:README.md];
  "Beyond Normalization: Rethinking the Partition Function as a Difficulty
  Scheduler for RLVR", Kim et al. (https://arxiv.org/abs/2602.12642) [paper
  excerpt: digest]; the residual clip is GFlowRL's
  (https://arxiv.org/abs/2607.13394) [paper excerpt: digest].
  Neutral setting: at pi = anchor the gradient on log pi is
  2 * (log_partition - kappa * r): REINFORCE with the baseline
  log_partition / kappa, times 2 * kappa.
  Differs from the paper: PACED-RL's length norm, weights and scale are not
  known; none, none and units "accuracy" are [inferred], the last for a loss of
  order 1. The weight is held within 20 nats, see `flowrl_weight`.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> old = jnp.full((2, 3), -1.0)
    >>> losses.trajectory_balance(
    ...     logprobs=old, old_logprobs=old, anchor_logprobs=old,
    ...     log_partition=jnp.array([10.0, 10.0]),
    ...     rewards=jnp.array([1.0, 0.0]), completion_mask=jnp.ones((2, 3)),
    ...     inv_temp=jnp.array(20.0)).losses.tolist()
    [100.0, 100.0]

  Args:
    logprobs: f32[B, T], nats, current policy; gradients flow here.
    old_logprobs: f32[B, T], nats, trainer's policy at rollout time, frozen.
    anchor_logprobs: f32[B, T], nats, frozen.
    log_partition: f32[B], nats, of the row's prompt; gradients flow here if it
      is live.
    rewards: f32[B]; raw verdicts where log_partition / kappa is to estimate
      the accuracy. Group-normalised ones have a mean of 0 and erase it. 0 on
      rows without tokens, whatever stands there.
    completion_mask: f32[B, T], 1 on generated tokens.
    inv_temp: f32[], kappa, above 0.
    length_norm: see `seq_logratio`.
    w_mode: see `flowrl_weight`.
    w_low: smallest weight.
    w_high: largest weight.
    residual_low: lower bound of the residual that the old policy had; what the
      policy has moved since is added unbounded.
    residual_high: upper bound of it.
    units: "nats" as written above, or "accuracy": divided by kappa^2, so that
      it is (log_partition / kappa - r + log-ratio / kappa)^2.

  Returns:
    Balance of f32[B], neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    anchor_logprobs=anchor_logprobs,
    log_partition=log_partition,
    rewards=rewards,
    completion_mask=completion_mask,
    inv_temp=inv_temp,
  )
  _choice("length_norm", length_norm, _LENGTH_NORMS)
  _choice("w_mode", w_mode, _W_MODES)
  _choice("units", units, _UNITS)
  _check_band(w_low, w_high)
  settings.require(
    residual_low <= residual_high,
    f"residual_low is {residual_low}, above residual_high ({residual_high}):"
    " give the smaller one first",
  )
  ratio = lambda to, since: _mean_or_sum(
    to - since, completion_mask, length_norm
  )
  wanted = inv_temp * _known(rewards, completion_mask)
  if math.isinf(residual_low) and math.isinf(residual_high):
    residuals = log_partition + ratio(logprobs, anchor_logprobs) - wanted
  else:
    at_old = log_partition + ratio(old_logprobs, anchor_logprobs)
    at_old = jnp.clip(at_old - wanted, residual_low, residual_high)
    residuals = at_old + ratio(logprobs, old_logprobs)
  exponent = _exponent(logprobs, old_logprobs, completion_mask, w_mode)
  weights = _clipped_weight(exponent, w_low, w_high)
  losses = weights * jnp.square(residuals)
  if units == "accuracy":
    losses /= jnp.square(inv_temp)
  raw_weights = ratios.bounded_ratio(exponent)
  return Balance(losses, residuals, raw_weights, weights)


def _mean_or_sum(values, mask, length_norm: str) -> jax.Array:
  """Over tokens, f32[B]; a row's weight in the mask is not a token's."""
  inside = (mask > 0).astype(values.dtype)
  total = masked.masked_sum(values, inside, axis=1)
  if length_norm == "none":
    return total
  return total / jnp.maximum(jnp.sum(inside, axis=1), 1.0)


def _has_tokens(mask) -> jax.Array:
  """bool[B]; rows that a method leaves out have no tokens in the mask."""
  return masked.row_weights(mask) > 0


def _known(rewards, mask) -> jax.Array:
  """Rewards, 0 on rows without tokens."""
  # Nobody may have judged such a row, and a NaN there would reach the gradient
  # of the log-partition past a weight of 0.
  return jnp.where(_has_tokens(mask), rewards, 0.0)


def _exponent(logprobs, old_logprobs, mask, w_mode: str) -> jax.Array:
  """Logarithm of the raw weight, f32[B], frozen."""
  gap = lax.stop_gradient(logprobs) - old_logprobs
  if w_mode == "none":
    return jnp.zeros_like(gap[:, 0])
  norm = "token" if w_mode == "token" else "none"
  return _mean_or_sum(gap, mask, norm)


def _clipped_weight(exponent, w_low: float, w_high: float) -> jax.Array:
  """exp of the exponent within the band, clipped before exp."""
  low = math.log(w_low) if w_low > 0 else -math.inf
  high = math.log(w_high) if w_high < math.inf else math.inf
  return ratios.bounded_ratio(jnp.clip(exponent, low, high))


def _check_band(w_low: float, w_high: float) -> None:
  settings.require(
    0 <= w_low <= 1 <= w_high,
    f"w_low is {w_low} and w_high {w_high}: the band has to hold the weight 1"
    " of a policy that has not moved",
  )


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
  settings.require(
    value in choices,
    f"{name} is {value!r}: {names.did_you_mean(str(value), choices)}",
  )
