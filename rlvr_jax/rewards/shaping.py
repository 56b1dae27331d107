"""Rewards reshaped before any group statistic sees them.

overlong_penalty: minus a ramp on completions that near the length limit.
sequence_kl_penalty: minus the log-ratio to the reference.
unlikeliness: less for the solutions that the policy finds likely.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked
from rlvr_jax import settings


def overlong_penalty(
  *,
  rewards: jax.Array,
  completion_mask: jax.Array,
  max_tokens: int = 20480,
  buffer_tokens: int = 4096,
) -> jax.Array:
  """Rewards minus a penalty that grows over the last tokens of the budget.

  penalty = clip((length - (max_tokens - buffer_tokens)) / buffer_tokens, 0, 1)

  See "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", Yu et
  al. (https://arxiv.org/abs/2503.14476), section 3.4, eq. 13; defaults:
  section 4.1. It shapes the reward: a group of equal verdicts and unequal
  lengths gets variance, hence gradient.
  Neutral setting: completions shorter than max_tokens - buffer_tokens.
  Differs from the paper: no; but its rewards are -1 and 1, so that on rewards
  of 0 and 1 the penalty weighs twice as much.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax.rewards import shaping
    >>> shaping.overlong_penalty(
    ...     rewards=jnp.ones(2), completion_mask=jnp.array([
    ...         [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]),
    ...     max_tokens=4, buffer_tokens=2).tolist()
    [1.0, 0.5]

  Args:
    rewards: f32[B].
    completion_mask: f32[B, T], whose tokens are the length.
    max_tokens: length at which the penalty is 1.
    buffer_tokens: over how many tokens it grows.

  Returns:
    f32[B].

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(rewards=rewards, completion_mask=completion_mask)
  settings.require(
    buffer_tokens > 0,
    f"buffer_tokens is {buffer_tokens}: set it to 1 or more",
  )
  lengths = jnp.sum((completion_mask > 0).astype(rewards.dtype), axis=1)
  over = (lengths - float(max_tokens - buffer_tokens)) / float(buffer_tokens)
  return rewards - jnp.clip(over, 0.0, 1.0)


def sequence_kl_penalty(
  *,
  rewards: jax.Array,
  old_logprobs: jax.Array,
  ref_logprobs: jax.Array,
  completion_mask: jax.Array,
  kl_coef: float = 0.03,
) -> jax.Array:
  """Rewards minus the log-ratio of the whole completion to the reference.

  r - kl_coef * sum_t(old_logprobs - ref_logprobs)

  See "Back to Basics: Revisiting REINFORCE Style Optimization for Learning
  from Human Feedback in LLMs", Ahmadian et al.
  (https://arxiv.org/abs/2402.14740), eq. 3, default of its TL;DR runs [paper
  excerpt, via notes]. In the reward, unlike in the loss, the single-sample
  log-ratio has the gradient of KL(policy || reference). It shapes the reward:
  every group gets variance from it.
  Neutral setting: kl_coef=0, or the policy at its reference.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax.rewards import shaping
    >>> shaping.sequence_kl_penalty(
    ...     rewards=jnp.ones(1), old_logprobs=jnp.array([[-1.0, -2.0]]),
    ...     ref_logprobs=jnp.array([[-2.0, -3.0]]),
    ...     completion_mask=jnp.ones((1, 2)), kl_coef=0.25).tolist()
    [0.5]

  Args:
    rewards: f32[B].
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    ref_logprobs: f32[B, T], frozen reference.
    completion_mask: f32[B, T], tokens that are summed.
    kl_coef: reward per nat.

  Returns:
    f32[B].

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    rewards=rewards,
    old_logprobs=old_logprobs,
    ref_logprobs=ref_logprobs,
    completion_mask=completion_mask,
  )
  inside = (completion_mask > 0).astype(rewards.dtype)
  log_ratio = masked.masked_sum(old_logprobs - ref_logprobs, inside, axis=1)
  return rewards - kl_coef * log_ratio


def unlikeliness(
  *,
  rewards: jax.Array,
  frozen_logprobs: jax.Array,
  completion_mask: jax.Array,
  group_ids: jax.Array,
  valid: jax.Array,
  rank_coef: float = 0.25,
) -> jax.Array:
  """Rewards that shrink with the rank of a completion's likelihood.

  r * (1 - rank_coef * rank / n), rank = how many of the group's n completions
  are less likely, by their mean log-probability per token

  See "Rewarding the Unlikely: Lifting GRPO Beyond Distribution Sharpening", He
  et al. (https://arxiv.org/abs/2506.02355) [code:
  AndreHe02/rewarding-unlikely-release:verl/trainer/ppo/ray_lean_trainer.py].
  Ties share the lower rank [inferred]. It shapes the reward: a group of right
  answers alone gets variance, hence gradient; a reward of 0 stays 0.
  Neutral setting: rank_coef=0.
  Differs from the paper: likelihoods are the sampler's before truncation,
  where the released code scores them anew; the two agree up to rounding.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax.rewards import shaping
    >>> shaping.unlikeliness(
    ...     rewards=jnp.ones(2), group_ids=jnp.zeros(2, int),
    ...     frozen_logprobs=jnp.array([[-1.0], [-2.0]]),
    ...     completion_mask=jnp.ones((2, 1)), valid=jnp.ones(2)).tolist()
    [0.875, 1.0]

  Args:
    rewards: f32[B].
    frozen_logprobs: f32[B, T], of the sampling policy.
    completion_mask: f32[B, T], tokens that the mean counts.
    group_ids: i32[B], same prompt, same number; each in 0 .. B - 1.
    valid: f32[B], 0 on rows that belong to no statistic.
    rank_coef: beta, share of the reward that the likeliest would lose.

  Returns:
    f32[B].

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    rewards=rewards,
    frozen_logprobs=frozen_logprobs,
    completion_mask=completion_mask,
    group_ids=group_ids,
    valid=valid,
  )
  inside = (completion_mask > 0).astype(rewards.dtype)
  lengths = jnp.maximum(jnp.sum(inside, axis=1), 1.0)
  means = masked.masked_sum(frozen_logprobs, inside, axis=1) / lengths
  same = group_ids[:, None] == group_ids[None]
  less_likely = same & (means[None] < means[:, None])
  rank = jnp.sum(jnp.where(less_likely, valid[None], 0.0), axis=1)
  count = jnp.sum(jnp.where(same, valid[None], 0.0), axis=1)
  return rewards * (1.0 - rank_coef * rank / jnp.where(count > 0, count, 1.0))
