"""Credit per token by loops, in float64: (weight, bonus, mask) each."""

from fractions import Fraction
import math

import numpy as np

from tests.reference import grid


def forking_token_mask(*, entropies, completion_mask, keep_frac=0.2):
  cells = grid.inside(completion_mask)
  # Exact decimals: ceil(0.3 * 10) is 3 whatever 0.3 is in binary.
  budget = max(1, math.ceil(Fraction(str(keep_frac)) * len(cells)))
  # Stable, so that ties go to the earlier token.
  ranked = sorted(cells, key=lambda cell: -entropies[cell])
  mask = np.zeros(np.shape(entropies))
  for cell in ranked[:budget]:
    mask[cell] = 1.0
  return 1.0, 0.0, mask


def steer_weights(
  *,
  logprobs,
  old_logprobs,
  entropies,
  token_advantages,
  completion_mask,
  schedule="linear",
  weight_min=0.8,
  weight_max=1.2,
):
  omegas = {}
  for cell in grid.inside(completion_mask):
    prob = min(max(math.exp(logprobs[cell]), 1e-8), 1 - 1e-8)
    change = token_advantages[cell] / math.exp(old_logprobs[cell])
    change *= prob * (1 - prob) * (math.log(prob) + entropies[cell])
    omegas[cell] = abs(change)
  weights = np.ones(np.shape(logprobs))
  low, high = min(omegas.values()), max(omegas.values())
  for cell, omega in omegas.items():
    if schedule == "exponential":
      rate = -math.log(weight_min) / max(high, 0.02)
      weights[cell] = min(max(math.exp(-rate * omega), weight_min), 1.0)
    elif low == high:
      weights[cell] = (weight_min + weight_max) / 2
    else:
      fall = (omega - low) * (weight_max - weight_min) / (high - low)
      weights[cell] = weight_max - fall
  return weights, 0.0, 1.0


def empg_weights(
  *,
  frozen_entropies,
  segment_ids,
  token_advantages,
  completion_mask,
  sharpness=1.0,
  future_sharpness=1.0,
  future_coef=0.1,
):
  cells = grid.inside(completion_mask)
  steps = {}
  for row, token in cells:
    if segment_ids[row, token] >= 0:
      name = row, int(segment_ids[row, token])
      steps.setdefault(name, []).append(float(frozen_entropies[row, token]))
  entropy = {name: math.fsum(h) / len(h) for name, h in steps.items()}
  low, high = min(entropy.values()), max(entropy.values())
  scaled = {s: (h - low) / (high - low + 1e-8) for s, h in entropy.items()}
  certain = {s: math.exp(-sharpness * hn) for s, hn in scaled.items()}
  mean = math.fsum(certain.values()) / len(certain)
  weight, bonus = (
    np.ones(np.shape(segment_ids)),
    np.zeros(np.shape(segment_ids)),
  )
  credit = []
  for row, token in cells:
    step = int(segment_ids[row, token])
    if step >= 0:
      weight[row, token] = certain[row, step] / mean
      if (row, step + 1) in scaled:
        future = math.exp(-future_sharpness * scaled[row, step + 1])
        bonus[row, token] = future_coef * future
    credit.append(
      token_advantages[row, token] * weight[row, token] + bonus[row, token]
    )
  return weight, bonus - math.fsum(credit) / len(credit), 1.0


def hicra_weights(*, token_advantages, planning_tokens, amplification=0.2):
  bonus = np.zeros(np.shape(token_advantages))
  for row in range(len(token_advantages)):
    for token in range(len(token_advantages[row])):
      if planning_tokens[row, token]:
        credit = token_advantages[row, token]
        bonus[row, token] = amplification * (credit if credit > 0 else -credit)
  return 1.0, bonus, 1.0


def _mixed(ratio, mix, clip):
  """(1 - lambda) + lambda * clip(w, 1 - eps_w, 1 + eps_w), floored at 0."""
  low, high = max(1 - clip, 0.0), 1 + clip
  return (1 - mix) + mix * min(max(ratio, low), high)


def _sign(value):
  return int(value > 0) - int(value < 0)


def reversed_teacher(
  *,
  token_advantages,
  d_hat,
  is_correct,
  has_teacher,
  completion_mask,
  teacher_mix,
  teacher_clip,
  gate="correct",
  mode="ratio",
  threshold=0.0,
  normalize="none",
):
  """(P_S / P_T)^sign(A) on right rows; the other modes are its limits."""
  weight, mask = np.ones(np.shape(d_hat)), np.ones(np.shape(d_hat))
  for row, token in grid.inside(completion_mask):
    if not has_teacher[row] or (gate == "correct" and not is_correct[row]):
      continue
    direction = _sign(token_advantages[row, token])
    if not direction:
      continue
    towards = float(direction * d_hat[row, token])
    if mode == "keep":
      mask[row, token] = 1.0 if towards > threshold else 0.0
    elif mode == "ratio":
      ratio = math.exp(min(max(towards, -20.0), 20.0))
      weight[row, token] = _mixed(ratio, teacher_mix, teacher_clip)
    elif abs(towards) > threshold:
      # The ratio of an infinite difference.
      ratio = math.inf if towards > 0 else 0.0
      weight[row, token] = _mixed(ratio, teacher_mix, teacher_clip)
  if mode == "keep":
    return 1.0, 0.0, mask
  if normalize == "row_mean":
    for row in range(len(weight)):
      inside = [t for r, t in grid.inside(completion_mask) if r == row]
      total = math.fsum(weight[row, t] for t in inside)
      for t in inside:
        weight[row, t] *= len(inside) / total
  return weight, 0.0, 1.0


def rlsd(*, token_advantages, d_hat, has_teacher, teacher_mix, teacher_clip):
  """(P_T / P_S)^sign(A) on every row that has a teacher."""
  weight = np.ones(np.shape(d_hat))
  for row in range(len(d_hat)):
    for token in range(len(d_hat[row])):
      direction = _sign(token_advantages[row, token])
      if has_teacher[row] and direction:
        exponent = float(-direction * d_hat[row, token])
        ratio = math.exp(min(max(exponent, -20.0), 20.0))
        weight[row, token] = _mixed(ratio, teacher_mix, teacher_clip)
  return weight, 0.0, 1.0


def antisd(
  *,
  d_hat,
  teacher_entropies,
  has_teacher,
  completion_mask,
  teacher_mix,
  warm_entropy=0.0,
  off_frac=0.93,
):
  """-lambda_t phi(u) with u = log P_T - log P_S."""
  cells = [(r, t) for r, t in grid.inside(completion_mask) if has_teacher[r]]
  strength = float(teacher_mix)
  if warm_entropy and cells:
    entropy = math.fsum(teacher_entropies[c] for c in cells) / len(cells)
    off = off_frac * warm_entropy
    if entropy <= off:
      strength = 0.0
    elif entropy < warm_entropy:
      strength *= (entropy - off) / (warm_entropy - off)
  bonus = np.zeros(np.shape(d_hat))
  for cell in cells:
    phi = (math.log1p(math.exp(-d_hat[cell])) - math.log(2)) / 2
    bonus[cell] = -strength * phi
  return 1.0, bonus, 1.0
