"""Ratios of probabilities that cannot overflow."""

import jax
import jax.numpy as jnp

# In nats. Beyond it exp overflows float32 sooner or later, and the gradient of
# a clipped token becomes inf * 0 = NaN. verl has the same bound.
MAX_LOG_RATIO = 20.0


def bounded_ratio(log_ratio: jax.Array) -> jax.Array:
  """exp of a log-ratio that is held within +-MAX_LOG_RATIO."""
  return jnp.exp(jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
