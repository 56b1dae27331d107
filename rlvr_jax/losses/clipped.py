"""Token losses that bound how far one update moves the policy.

ppo_clip: the clipped surrogate, with unequal widths and the dual clip.
gspo: one ratio for the whole response.
cispo: the clipped ratio as a frozen weight, so that no token loses its
  gradient.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax import settings
from rlvr_jax.losses import ratios


def ppo_clip(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual_clip: float = 0.0,
) -> jax.Array:
  """Clipped policy-gradient surrogate, one value per token.

  loss = -min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A)
  with ratio = exp(logprobs - old_logprobs); where A < 0 and dual_clip is set,
  at most -dual_clip * A

  See "Proximal Policy Optimization Algorithms", Schulman et al.
  (https://arxiv.org/abs/1707.06347), eq. 7; unequal widths: "DAPO"
  (https://arxiv.org/abs/2503.14476); dual clip: "Mastering Complex Control in
  MOBA Games with Deep Reinforcement Learning", Ye et al.
  (https://arxiv.org/abs/1912.09729).
  Neutral setting: old_logprobs = stop_gradient(logprobs) gives the gradient of
  `reinforce` at any positive width and any dual_clip above 1.
  Differs from the paper: log-ratios beyond 20 nats count as 20.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.ppo_clip(
    ...     logprobs=jnp.log(jnp.array([[0.5, 0.25]])),
    ...     old_logprobs=jnp.log(jnp.array([[0.25, 0.5]])),
    ...     token_advantages=jnp.ones((1, 2)), clip_high=0.25).tolist()
    [[-1.25, -0.5]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    clip_low: lower clip width, a distance from 1.
    clip_high: upper clip width, a distance from 1.
    dual_clip: largest ratio that counts against a token with a negative
      advantage, above 1; 0 leaves it unbounded.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
  )
  settings.require(
    dual_clip == 0 or dual_clip > 1,
    f"dual_clip is {dual_clip}: set it above 1, or to 0 for none",
  )
  ratio = ratios.bounded_ratio(logprobs - old_logprobs)
  clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  loss = -jnp.minimum(ratio * token_advantages, clipped * token_advantages)
  if not dual_clip:
    return loss
  bounded = jnp.minimum(loss, -dual_clip * token_advantages)
  return jnp.where(token_advantages < 0, bounded, loss)


def gspo(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  completion_mask: jax.Array,
  clip_low: float = 3e-4,
  clip_high: float = 4e-4,
) -> jax.Array:
  """Surrogate with one ratio a response, laid out per token.

  s_i = exp(mean_t(logprobs - old_logprobs)), s_it = sg(s_i) * exp(logprobs -
  sg(logprobs)); loss = -min(s_it * A, clip(s_it, 1 - clip_low, 1 + clip_high)
  * A)

  See "Group Sequence Policy Optimization", Zheng et al.
  (https://arxiv.org/abs/2507.18071), eq. 5 and 7; the token form is its
  GSPO-token (eq. 13 and 14), which equals GSPO in value and gradient while a
  response's tokens share one advantage. Reduce it with `sequence_mean`.
  Widths 3e-4 and 4e-4: section 5.1.
  Neutral setting: responses of one token give `ppo_clip`.
  Differs from the paper: no.

  Example: ratios 2 and 1/2 average to 1 in the log, so nothing is clipped:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.gspo(
    ...     logprobs=jnp.log(jnp.array([[0.5, 0.25]])),
    ...     old_logprobs=jnp.log(jnp.array([[0.25, 0.5]])),
    ...     token_advantages=jnp.ones((1, 2)),
    ...     completion_mask=jnp.ones((1, 2))).tolist()
    [[-1.0, -1.0]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    completion_mask: f32[B, T], tokens that the mean counts.
    clip_low: lower clip width of the response's ratio, a distance from 1.
    clip_high: upper clip width of the response's ratio, a distance from 1.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    completion_mask=completion_mask,
  )
  inside = completion_mask > 0
  log_ratio = jnp.where(inside, logprobs - old_logprobs, 0.0)
  lengths = jnp.sum(inside, axis=1, keepdims=True).astype(logprobs.dtype)
  seq_log_ratio = jnp.sum(log_ratio, axis=1, keepdims=True) / jnp.maximum(
    lengths, 1.0
  )
  # One value for the row; the gradient of each token is its own.
  own = jnp.where(inside, logprobs - lax.stop_gradient(logprobs), 0.0)
  ratio = ratios.bounded_ratio(lax.stop_gradient(seq_log_ratio) + own)
  clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  return -jnp.minimum(ratio * token_advantages, clipped * token_advantages)


def cispo(
  *,
  logprobs: jax.Array,
  old_logprobs: jax.Array,
  token_advantages: jax.Array,
  clip_low: float = 1.0,
  clip_high: float = 0.28,
) -> jax.Array:
  """REINFORCE weighted by a clipped, frozen ratio, one value per token.

  loss = -sg(clip(ratio, 1 - clip_low, 1 + clip_high)) * A * logprobs

  See "MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning
  Attention" (https://arxiv.org/abs/2506.13585), eq. 4 and 5. The paper sets
  no effective lower width (1 here) and tunes the upper one without printing
  it: 0.28 is DAPO's [inferred].
  Neutral setting: old_logprobs = stop_gradient(logprobs) gives `reinforce`.
  Differs from the paper: no. Clipping bounds a token's weight and never takes
  its gradient away, which `ppo_clip` does.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.cispo(
    ...     logprobs=jnp.array([[-1.0, -2.0]]),
    ...     old_logprobs=jnp.array([[-3.0, -2.0]]),
    ...     token_advantages=jnp.ones((1, 2)), clip_high=0.25).tolist()
    [[1.25, 2.0]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    old_logprobs: f32[B, T], trainer's policy at rollout time, frozen.
    token_advantages: f32[B, T], frozen.
    clip_low: lower clip width of the weight, a distance from 1.
    clip_high: upper clip width of the weight, a distance from 1.

  Returns:
    f32[B, T] token losses, neither masked nor reduced.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
  )
  ratio = ratios.bounded_ratio(lax.stop_gradient(logprobs) - old_logprobs)
  weight = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
  return -weight * token_advantages * logprobs
