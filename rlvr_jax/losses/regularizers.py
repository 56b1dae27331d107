"""Terms added to the policy loss, each with a coefficient of its own.

kl_k1, kl_k2, kl_k3: estimates of KL(policy || reference) from one sample.
entropy_bonus: minus the entropy, so that adding it raises the entropy.

They hold on every generated token, whatever a method's masks silence.
"""

import jax
import jax.numpy as jnp

from rlvr_jax import checks
from rlvr_jax.losses import ratios


def kl_k1(*, logprobs: jax.Array, ref_logprobs: jax.Array) -> jax.Array:
  """Log-ratio to the reference, one value per token.

  k1 = logprobs - ref_logprobs

  See "Approximating KL Divergence", Schulman
  (http://joschu.net/blog/kl-approx.html, https://arxiv.org/abs/1707.06347 for
  the policy loss it accompanies). Unbiased as a value. As a loss term its
  expected gradient is 0, for the score of a policy averages to 0: a trap. Use
  it as a metric, or `kl_k2` here.
  Neutral setting: ref_logprobs = logprobs gives 0.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.kl_k1(logprobs=jnp.array([[-1.0]]),
    ...              ref_logprobs=jnp.array([[-1.5]])).tolist()
    [[0.5]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    ref_logprobs: f32[B, T], frozen reference.

  Returns:
    f32[B, T] in nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(logprobs=logprobs, ref_logprobs=ref_logprobs)
  return logprobs - ref_logprobs


def kl_k2(*, logprobs: jax.Array, ref_logprobs: jax.Array) -> jax.Array:
  """Half the squared log-ratio, one value per token.

  k2 = (logprobs - ref_logprobs)^2 / 2

  See "Approximating KL Divergence", Schulman
  (http://joschu.net/blog/kl-approx.html, https://arxiv.org/abs/1707.06347 for
  the policy loss it accompanies). Biased as a value; on the policy's own
  samples its expected gradient is exactly that of KL(policy || reference).
  Neutral setting: ref_logprobs = logprobs gives 0.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.kl_k2(logprobs=jnp.array([[-1.0]]),
    ...              ref_logprobs=jnp.array([[-1.5]])).tolist()
    [[0.125]]

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    ref_logprobs: f32[B, T], frozen reference.

  Returns:
    f32[B, T] in nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(logprobs=logprobs, ref_logprobs=ref_logprobs)
  return 0.5 * jnp.square(logprobs - ref_logprobs)


def kl_k3(*, logprobs: jax.Array, ref_logprobs: jax.Array) -> jax.Array:
  """The estimate that is never negative, one value per token.

  k3 = exp(ref_logprobs - logprobs) - 1 - (ref_logprobs - logprobs)

  See "DeepSeekMath" (https://arxiv.org/abs/2402.03300), eq. 4, after
  Schulman (http://joschu.net/blog/kl-approx.html). Unbiased as a value; on
  the policy's own samples its expected gradient is that of
  KL(reference || policy), not of the divergence it estimates.
  Neutral setting: ref_logprobs = logprobs gives 0.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> value = losses.kl_k3(logprobs=jnp.array([[-1.0]]),
    ...                      ref_logprobs=jnp.array([[-1.5]]))
    >>> round(float(value[0, 0]), 4)
    0.1065

  Args:
    logprobs: f32[B, T], current policy; gradients flow here.
    ref_logprobs: f32[B, T], frozen reference.

  Returns:
    f32[B, T] in nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(logprobs=logprobs, ref_logprobs=ref_logprobs)
  log_ratio = ref_logprobs - logprobs
  bounded = jnp.minimum(log_ratio, ratios.MAX_LOG_RATIO)
  return jnp.expm1(bounded) - log_ratio


def entropy_bonus(*, entropies: jax.Array) -> jax.Array:
  """Minus the entropy, one value per token.

  loss = -entropies

  See "Asynchronous Methods for Deep Reinforcement Learning", Mnih et al.
  (https://arxiv.org/abs/1602.01783), section 4. The gradient flows through
  the full distribution; a batch estimate from log-probabilities of the sample
  is another quantity.
  Neutral setting: coefficient 0.
  Differs from the paper: no.

  Example:
    >>> import jax.numpy as jnp
    >>> from rlvr_jax import losses
    >>> losses.entropy_bonus(entropies=jnp.array([[0.5]])).tolist()
    [[-0.5]]

  Args:
    entropies: f32[B, T], nats, full vocabulary; gradients flow here.

  Returns:
    f32[B, T] in nats.

  Raises:
    ValueError: for shapes or values that cannot be right, by name.
  """
  checks.arguments(entropies=entropies)
  return -entropies
