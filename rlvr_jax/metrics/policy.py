"""What one update says of the policy: means over tokens, sums apart."""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records

# In nats; keeps exp in range.
_MAX_LOG_RATIO = 20.0


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


def row_measures(fields: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Divergences of whole responses, f32[B], nats; see `row_summary`.

  Each is the sum over tokens of ratio - 1 - log(ratio), the k3 estimate.

  Args:
    fields: with the live fields of a forward pass.

  Returns:
    response_kl_old: KL(old || current) from the old policy's samples.
    response_kl_ref: KL(current || reference) from the current policy's; exact
      in expectation at the first update of a batch. Where there is a
      reference.
  """
  mask = fields["completion_mask"]
  inside = (mask > 0).astype(mask.dtype)
  logprobs = lax.stop_gradient(fields["logprobs"])
  k3 = lambda x: masked.masked_sum(
    jnp.expm1(jnp.clip(x, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)) - x, inside, axis=1
  )
  measured = {"response_kl_old": k3(logprobs - fields["old_logprobs"])}
  if "ref_logprobs" in fields:
    measured["response_kl_ref"] = k3(fields["ref_logprobs"] - logprobs)
  return measured


def row_summary(
  rows: dict[str, jax.Array], fields: dict[str, jax.Array]
) -> dict[str, jax.Array]:
  """What is shown of numbers per response, over all rows of an update.

  Args:
    rows: f32[B] by name; of `row_measures` and of a sequence loss.
    fields: completion_mask and group_ids of the same rows, and inv_temp where
      there is one.

  Returns:
    For each name its mean over rows, f32[]. For divergences also `_max`, the
    largest mean of a prompt's rows; `kl_old_over_kappa` and its `_max` are
    what PACED-RL's accuracy estimate leaves out. For the others also `_var`
    and `_max`.
  """
  weights = masked.row_weights(fields["completion_mask"])
  mean = lambda x: masked.masked_mean(x, weights).value()
  # 0 where filters have left no row at all.
  largest = lambda x: jnp.where(
    jnp.any(weights > 0), jnp.max(jnp.where(weights > 0, x, -jnp.inf)), 0.0
  )
  shown = {}
  for name, values in rows.items():
    shown[name] = mean(values)
    if name.startswith("response_kl"):
      per_prompt = masked.group_mean(values, fields["group_ids"], weights)
      shown[f"{name}_max"] = largest(per_prompt)
    else:
      shown[f"{name}_var"] = mean(jnp.square(values - shown[name]))
      shown[f"{name}_max"] = largest(values)
  if "inv_temp" in fields:
    for end in ("", "_max"):
      shown[f"kl_old_over_kappa{end}"] = (
        shown[f"response_kl_old{end}"] / fields["inv_temp"]
      )
  return shown
