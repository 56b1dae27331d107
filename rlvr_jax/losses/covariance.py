"""Token losses that hold back the tokens of largest covariance.

clip_cov: the clipped surrogate without some tokens of high covariance.
kl_cov: an unclipped surrogate with a KL penalty on the highest ones.

The tokens are chosen over a whole batch by `rlvr_jax.derived`, in functions of
the same name as the field that they fill, so that a loss sees its own rows
alone and a batch can be split.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax.losses import clipped
from rlvr_jax.losses import ratios


def clip_cov(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  clip_cov_tokens: jax.Array,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
) -> jax.Array:
  """Clipped surrogate, 0 on the chosen tokens.

  loss = ppo_clip * (1 - clip_cov_tokens)

  See "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
  Models", Cui et al. (https://arxiv.org/abs/2505.22617), section 4 [code:
  PRIME-RL/Entropy-Mechanism-of-RL:verl/trainer/ppo/core_algos.py].
  Neutral setting: no token chosen gives `ppo_clip`.
  Differs from the paper: no. The tokens stay in the denominator.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> zeros = jnp.zeros((1, 2))
    >>> losses.clip_cov(
    ...     logprobs=zeros, old_logprobs=zeros, token_advantages=zeros + 1,
    ...     clip_cov_tokens=jnp.array([[1.0, 0.0]])).tolist()
    [[-0.0, -1.0]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    clip_cov_tokens: f32[B, T], 1 on chosen tokens, from
      `derived.clip_cov_tokens`.
    clip_low: lower clip width, a distance from 1.
    clip_high: upper clip width, a distance from 1.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(clip_cov_tokens=clip_cov_tokens, logprobs=logprobs)
  loss = clipped.ppo_clip(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    clip_low=clip_low,
    clip_high=clip_high,
  )
  return loss * (1.0 - clip_cov_tokens)


def kl_cov(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  kl_cov_tokens: jax.Array,
  kl_cov_coef: float = 1.0,
) -> jax.Array:
  """Unclipped surrogate with a penalty on the chosen tokens.

  loss = -A * ratio + kl_cov_coef * |logprobs - old_logprobs| * kl_cov_tokens

  See "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
  Models", Cui et al. (https://arxiv.org/abs/2505.22617), section 4 [code:
  PRIME-RL/Entropy-Mechanism-of-RL:verl/trainer/ppo/core_algos.py].
  Neutral setting: no token chosen gives `ppo_clip` with infinite widths.
  Differs from the paper: no. At a first update the penalty is 0 and so is its
  gradient (the derivative of |x| at 0 is taken as 0): it acts from the second
  minibatch on.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.kl_cov(
    ...     logprobs=jnp.array([[-1.0, -1.0]]),
    ...     old_logprobs=jnp.array([[-1.5, -1.5]]),
    ...     token_advantages=jnp.zeros((1, 2)),
    ...     kl_cov_tokens=jnp.array([[1.0, 0.0]])).tolist()
    [[0.5, 0.0]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    kl_cov_tokens: f32[B, T], 1 on chosen tokens, from
      `derived.kl_cov_tokens`.
    kl_cov_coef: weight of the penalty.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    kl_cov_tokens=kl_cov_tokens,
  )
  log_ratio = logprobs - old_logprobs
  # The gradient of jnp.abs at 0 is 1; that of this form is 0.
  size = log_ratio * lax.stop_gradient(jnp.sign(log_ratio))
  penalty = kl_cov_coef * size * kl_cov_tokens
  return -token_advantages * ratios.bounded_ratio(log_ratio) + penalty
