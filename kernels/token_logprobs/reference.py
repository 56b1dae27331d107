"""Token statistics with all logits at once: the definition, for checking."""

import jax
import jax.numpy as jnp

from rlvr_jax.kernels.token_logprobs import fused


def token_logprobs(
  hidden: jax.Array,
  unembedding: jax.Array,
  targets: jax.Array,
  temperature: jax.Array,
) -> fused.TokenStatistics:
  """See `token_logprobs.token_logprobs`; materialises f32[N, V]."""
  logits = fused.product(hidden, unembedding) / temperature
  log_probs = jax.nn.log_softmax(logits)
  # A vocabulary entry of probability 0 has no entropy: 0 * -inf is not 0.
  finite = jnp.where(log_probs > -jnp.inf, log_probs, 0.0)
  return fused.TokenStatistics(
    logprobs=jnp.take_along_axis(log_probs, targets[:, None], axis=1)[:, 0],
    entropies=-jnp.sum(jnp.exp(log_probs) * finite, axis=1),
    mean_logprobs=jnp.mean(log_probs, axis=1),
    log_normalizers=jax.nn.logsumexp(logits, axis=1),
  )
