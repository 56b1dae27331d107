"""What one update says of the policy: means over tokens, sums apart."""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records


def token_means(fields: dict[str, jax.Array]) -> dict[str, records.Mean]:
  """Means over generated tokens of a (part of a) batch.

  Args:
    fields: with the live fields of a forward pass.

  Returns:
    entropy: nats per token, full vocabulary.
    ratio_gap: mean of |ratio - 1| against old_logprobs; 0 at a first update.
    kl_old: mean of ratio - 1 - log(ratio), an unbiased estimate of
      KL(old || current) in nats per token, from the old policy's samples (the
      k3 of http://joschu.net/blog/kl-approx.html).
    sampler_gap: mean of |trainer - sampler| log-probabilities of the same
      tokens, in nats: anything but rounding says that the two differ.
  """
  mask = fields["completion_mask"]
  logprobs = lax.stop_gradient(fields["logprobs"])
  mean = lambda values: masked.masked_mean(values, mask)
  log_ratio = logprobs - fields["old_logprobs"]
  measured = {
    "entropy": mean(lax.stop_gradient(fields["entropies"])),
    "ratio_gap": mean(jnp.abs(jnp.expm1(log_ratio))),
    "kl_old": mean(jnp.expm1(log_ratio) - log_ratio),
  }
  if "sampler_logprobs" in fields:
    untruncated = fields["sampler_logprobs"] + fields["log_kept_mass"]
    measured["sampler_gap"] = mean(jnp.abs(logprobs - untruncated))
  return measured
