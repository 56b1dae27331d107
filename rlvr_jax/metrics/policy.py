"""What one update says of the policy: means over tokens, sums apart."""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records

# In nats; keeps exp in range.
_MAX_LOG_RATIO = 20.0
# In nats; below it a token counts as decided: the likeliest has 0.998 or more.
_DECIDED = 0.01
# Of a response's tokens, in parts: what counts as its opening.
_OPENING = 4
# Width of the trust region that PPO made usual, for comparing methods.
_WIDTH = 0.2


def token_means(fields: dict[str, jax.Array]) -> dict[str, records.Mean]:
  """Means over generated tokens of a (part of a) batch.

  Args:
    fields: with the live fields of a forward pass.

  Returns:
    entropy: nats per token, full vocabulary.
    entropy_opening, entropy_last: the same of a response's first quarter, and
      of its last token; a plan, and when to end, are decided there.
    decided_frac: share of tokens whose entropy is below 0.01 nats.
    ratio_low_frac, ratio_high_frac: share of tokens whose ratio lies below
      0.8 or above 1.2, whatever a method clips at.
    ratio_gap: mean of |ratio - 1| against old_logprobs; 0 at a first update.
    kl_old: mean of ratio - 1 - log(ratio), an unbiased estimate of
      KL(old || current) in nats per token, from the old policy's samples (the
      k3 of http://joschu.net/blog/kl-approx.html).
    sampler_gap: mean of |trainer - sampler| log-probabilities of the same
      tokens, in nats: anything but rounding says that the two differ.
    sampler_old_gap and others: see `_sampler_means`.
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
  share = lambda condition: mean(condition.astype(mask.dtype))
  measured |= {
    "ratio_low_frac": share(log_ratio < jnp.log1p(-_WIDTH)),
    "ratio_high_frac": share(log_ratio > jnp.log1p(_WIDTH)),
  }
  measured |= _entropies_by_place(fields["entropies"], mask)
  if "sampler_logprobs" in fields:
    untruncated = fields["sampler_logprobs"] + fields["log_kept_mass"]
    measured["sampler_gap"] = mean(jnp.abs(logprobs - untruncated))
    measured |= _sampler_means(fields, untruncated)
  return measured


def _entropies_by_place(
  entropies: jax.Array, mask: jax.Array
) -> dict[str, records.Mean]:
  """Which tokens of a response are still undecided; for any tokenizer."""
  entropies = lax.stop_gradient(entropies)
  inside = (mask > 0).astype(jnp.int32)
  place = jnp.cumsum(inside, axis=1)
  length = jnp.sum(inside, axis=1, keepdims=True)
  # Rounded up, so that every response has an opening.
  opening = (_OPENING * place <= length + _OPENING - 1).astype(mask.dtype)
  last = (place == length).astype(mask.dtype)
  decided = (entropies < _DECIDED).astype(mask.dtype)
  return {
    "entropy_opening": masked.masked_mean(entropies, mask * opening),
    "entropy_last": masked.masked_mean(entropies, mask * last),
    "decided_frac": masked.masked_mean(decided, mask),
  }


def _sampler_means(
  fields: dict[str, jax.Array], untruncated: jax.Array
) -> dict[str, records.Mean]:
  """What shape the gap between sampler and trainer has at rollout time.

  With gap = old_logprobs - untruncated, both of the policy before its update,
  and surprise = untruncated + entropy: a temperature that one side leaves out
  gives gap = slope * surprise to first order, with slope = log(T_sampler /
  T_trainer), since d log p(a) / d log(1/T) = log p(a) + H. Mass that a
  truncation has kept and nobody took off gives a gap that is never above 0.

  Returns:
    sampler_old_gap: mean |gap|, nats.
    sampler_shift: mean gap, nats.
    sampler_gap_square: mean gap^2; and with the sampler's entropies
    sampler_surprise_square: mean surprise^2,
    sampler_slope: the fitted slope, sum gap * surprise / sum surprise^2. The
      share of gap^2 that it explains is slope^2 * surprise_square /
      gap_square.
  """
  mask = fields["completion_mask"]
  gap = fields["old_logprobs"] - untruncated
  found = {
    "sampler_old_gap": masked.masked_mean(jnp.abs(gap), mask),
    "sampler_shift": masked.masked_mean(gap, mask),
    "sampler_gap_square": masked.masked_mean(jnp.square(gap), mask),
  }
  if "frozen_entropies" in fields:
    surprise = untruncated + fields["frozen_entropies"]
    square = masked.masked_mean(jnp.square(surprise), mask)
    found["sampler_surprise_square"] = square
    found["sampler_slope"] = records.Mean(
      masked.masked_sum(gap * surprise, mask), square.total
    )
  return found


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
