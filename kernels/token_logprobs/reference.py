"""Token statistics with all logits at once: the definition, for checking."""

import jax
import jax.numpy as jnp


def token_logprobs(
  hidden: jax.Array,
  unembedding: jax.Array,
  targets: jax.Array,
  temperature: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """See `kernels.token_logprobs.token_logprobs`; materialises f32[N, V]."""
  logits = (
    jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)
    / temperature
  )
  log_probs = jax.nn.log_softmax(logits)
  logprobs = jnp.take_along_axis(log_probs, targets[:, None], axis=1)[:, 0]
  entropies = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=1)
  return logprobs, entropies, jnp.mean(log_probs, axis=1)
