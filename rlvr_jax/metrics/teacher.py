"""How far a teacher with privileged context is from the student."""

import chex
import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax import masked
from rlvr_jax import records

# In nats; keeps exp in range [code: lauyikfung/SDPG].
_MAX_LOG_RATIO = 20.0
# In nats; below it a token counts as left alone by the teacher [inferred].
_CHANGED = 0.05


def teacher_means(
  *,
  d_hat: jax.Array,
  has_teacher: jax.Array,
  is_correct: jax.Array,
  completion_mask: jax.Array,
  teacher_entropies: jax.Array | None = None,
  teacher_clip: jax.Array | float | None = None,
) -> dict[str, records.Mean]:
  """Means over tokens and rows; sums and counts apart.

  d_hat = log p_student(y_t) - log p_teacher(y_t) at the sampled tokens, above
  0 on what the student does of its own, clipped here to +-20 nats. A row is
  active if it is correct and has a teacher: those RLRT reweighs. See
  "Rebellious Student", Kim et al. (https://arxiv.org/abs/2605.10781); which
  numbers to log is our choice [inferred].

  Args:
    d_hat: f32[B, T], nats.
    has_teacher: f32[B], 0 on rows whose d_hat says nothing.
    is_correct: f32[B], the verifier's bit.
    completion_mask: f32[B, T], 0 on all of a row that does not count.
    teacher_entropies: f32[B, T], nats, of the teacher.
    teacher_clip: eps_w, how far the ratio exp(d_hat) may lie from 1.

  Returns:
    Over tokens of rows with a teacher, those marked * also over active rows as
    `<name>/correct`:
    teacher/d_hat_mean*: nats per token, the plain estimate of
      KL(student || teacher).
    teacher/d_hat_pos_frac*: share of tokens with d_hat > 0.
    teacher/kl_s_t*: exp(-d_hat) - 1 + d_hat, the estimate of the same that is
      never negative (k3), nats per token.
    teacher/changed_frac: share of tokens with |d_hat| > 0.05.
    teacher/teacher_entropy: nats per token; with `teacher_entropies`.
    Over tokens of active rows, with `teacher_clip`:
    teacher/w_clip_low_frac, teacher/w_clip_high_frac: share of tokens whose
      ratio lies below 1 - teacher_clip or above 1 + teacher_clip.
    teacher/w_mean: mean ratio after clipping.
    Over rows and tokens of the batch:
    teacher/active_row_frac, teacher/active_token_frac: share that is active.
    teacher/no_sibling_frac: share of correct rows without a teacher.
  """
  chex.assert_equal_shape([d_hat, completion_mask])
  chex.assert_equal_shape([has_teacher, is_correct])
  rows = masked.row_weights(completion_mask)
  has = (has_teacher > 0).astype(rows.dtype)
  right = (is_correct > 0).astype(rows.dtype)
  taught = completion_mask * has[:, None]
  active = taught * right[:, None]
  # Masked before exp: d_hat of a row without a teacher may be anything.
  gap = jnp.where(taught > 0, lax.stop_gradient(d_hat), 0.0)
  gap = jnp.clip(gap, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
  share = lambda x, mask: masked.masked_mean(x.astype(mask.dtype), mask)
  means = {"teacher/changed_frac": share(jnp.abs(gap) > _CHANGED, taught)}
  for end, mask in (("", taught), ("/correct", active)):
    means |= {
      f"teacher/d_hat_mean{end}": masked.masked_mean(gap, mask),
      f"teacher/d_hat_pos_frac{end}": share(gap > 0, mask),
      f"teacher/kl_s_t{end}": masked.masked_mean(jnp.expm1(-gap) + gap, mask),
    }
  if teacher_entropies is not None:
    entropies = lax.stop_gradient(teacher_entropies)
    means["teacher/teacher_entropy"] = masked.masked_mean(entropies, taught)
  if teacher_clip is not None:
    ratio = jnp.exp(gap)
    low, high = 1.0 - teacher_clip, 1.0 + teacher_clip
    clipped = jnp.clip(ratio, jnp.maximum(low, 0.0), high)
    means |= {
      "teacher/w_clip_low_frac": share(ratio < low, active),
      "teacher/w_clip_high_frac": share(ratio > high, active),
      "teacher/w_mean": masked.masked_mean(clipped, active),
    }
  mean = lambda total, count: records.Mean(jnp.sum(total), jnp.sum(count))
  return means | {
    "teacher/active_row_frac": mean(rows * right * has, rows),
    "teacher/active_token_frac": mean(active, completion_mask),
    "teacher/no_sibling_frac": mean(rows * right * (1.0 - has), rows * right),
  }
