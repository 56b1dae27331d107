"""Tokens whose log-probability and advantage vary together.

clip_cov_tokens: some tokens of a band of covariance, drawn at random.
kl_cov_tokens: the tokens of largest covariance.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import masked
from rlvr_jax import settings


def _covariances(logprobs, token_advantages, completion_mask):
  """(A - mean A) * (logprob - mean logprob), means over all tokens."""
  mean = lambda x: masked.masked_mean(x, completion_mask).value()
  logprobs = lax.stop_gradient(logprobs)
  return (token_advantages - mean(token_advantages)) * (
    logprobs - mean(logprobs)
  )


def _check_share(select_frac: float) -> None:
  settings.require(
    0 <= select_frac <= 1,
    f"select_frac is {select_frac}: it is a share in [0, 1], no percentage",
  )


def clip_cov_tokens(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  completion_mask: jax.Array,
  token_uniforms: jax.Array,
  select_frac: float = 2e-4,
  cov_low: float = 1.0,
  cov_high: float = 5.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
) -> jax.Array:
  """Randomly drawn tokens whose covariance lies in a band.

  cov = (A - mean(A)) * (logprobs - mean(logprobs)); of the tokens with
  cov_low < cov < cov_high that the PPO clip does not bind already,
  max(1, floor(select_frac * num_tokens)), uniformly without replacement

  See "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
  Models", Cui et al. (https://arxiv.org/abs/2505.22617), section 4 [code:
  PRIME-RL/Entropy-Mechanism-of-RL:verl/trainer/ppo/core_algos.py,
  recipe/dapo/7b_clip_cov.sh].
  Neutral setting: an empty band (cov_low = cov_high) draws none.
  Differs from the paper: means and draw run over the batch of one update,
  where the released code takes each micro-batch; the draw depends on prompt,
  sample and position alone.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> logprobs = jnp.array([[-0.1, -2.3, -0.3, -2.1]])
    >>> derived.clip_cov_tokens(
    ...     logprobs=logprobs, old_logprobs=logprobs,
    ...     token_advantages=jnp.array([[1.0, 1.0, -1.0, -1.0]]),
    ...     completion_mask=jnp.ones((1, 4)),
    ...     token_uniforms=jnp.full((1, 4), 0.5)).tolist()
    [[1.0, 0.0, 0.0, 0.0]]

  Args:
    logprobs: f32[B, T], current policy, frozen here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    completion_mask: f32[B, T], tokens that the statistics count.
    token_uniforms: f32[B, T] in [0, 1), random; the largest are drawn.
    select_frac: share of all tokens to draw.
    cov_low: lower end of the band.
    cov_high: upper end of the band.
    clip_low: lower clip width of the loss.
    clip_high: upper clip width of the loss.

  Returns:
    f32[B, T] of zeros and ones.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    completion_mask=completion_mask,
    token_uniforms=token_uniforms,
  )
  _check_share(select_frac)
  cov = _covariances(logprobs, token_advantages, completion_mask)
  ratio = jnp.exp(lax.stop_gradient(logprobs) - old_logprobs)
  clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  bound = clipped * token_advantages < ratio * token_advantages
  eligible = (cov > cov_low) & (cov < cov_high) & ~bound
  budget = masked.share(select_frac, jnp.sum(completion_mask))
  weights = jnp.where(eligible, completion_mask, 0.0)
  return masked.largest(token_uniforms, weights, budget)


def kl_cov_tokens(
  *,
  logprobs: jax.Array,
  token_advantages: jax.Array,
  completion_mask: jax.Array,
  select_frac: float = 2e-3,
) -> jax.Array:
  """The tokens of largest covariance.

  cov = (A - mean(A)) * (logprobs - mean(logprobs)); the
  max(1, floor(select_frac * num_tokens)) largest

  See "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
  Models", Cui et al. (https://arxiv.org/abs/2505.22617), section 4 [code:
  PRIME-RL/Entropy-Mechanism-of-RL:verl/trainer/ppo/core_algos.py]. The
  released scripts give a percentage (0.2 for 7B, 0.02 for 32B); here it is a
  fraction, so 2e-3 and 2e-4.
  Neutral setting: none, at least one token is chosen; a coefficient of 0 in
  `losses.kl_cov` makes the choice idle.
  Differs from the paper: means and ranks run over the batch of one update,
  where the released code takes each micro-batch. select_frac=0 chooses none.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import derived
    >>> derived.kl_cov_tokens(
    ...     logprobs=jnp.array([[-0.1, -2.3, -0.3, -2.1]]),
    ...     token_advantages=jnp.array([[1.0, 1.0, -1.0, -1.0]]),
    ...     completion_mask=jnp.ones((1, 4))).tolist()
    [[1.0, 0.0, 0.0, 0.0]]

  Args:
    logprobs: f32[B, T], current policy, frozen here.
    token_advantages: f32[B, T], frozen.
    completion_mask: f32[B, T], tokens that the statistics count.
    select_frac: share of all tokens to choose, a fraction and no percentage.

  Returns:
    f32[B, T] of zeros and ones.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    token_advantages=token_advantages,
    completion_mask=completion_mask,
  )
  _check_share(select_frac)
  cov = _covariances(logprobs, token_advantages, completion_mask)
  if not select_frac:
    return jnp.zeros_like(cov)
  budget = masked.share(select_frac, jnp.sum(completion_mask))
  return masked.largest(cov, completion_mask, budget)
