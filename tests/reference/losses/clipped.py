"""Clipped surrogates by loops over tokens, in float64."""

import math

import numpy as np

from tests.reference import grid
from tests.reference import surrogates


def ppo_clip(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  clip_low=0.2,
  clip_high=0.2,
  dual_clip=0.0,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    ratio = math.exp(logprobs[cell] - old_logprobs[cell])
    credit = float(token_advantages[cell])
    bounded = ratio
    if bounded < 1 - clip_low:
      bounded = 1 - clip_low
    if bounded > 1 + clip_high:
      bounded = 1 + clip_high
    objective = min(ratio * credit, bounded * credit)
    if dual_clip and credit < 0:
      # The objective never falls below dual_clip * A.
      objective = max(objective, dual_clip * credit)
    losses[cell] = -objective
  return losses


def gspo_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  token_advantages,
  completion_mask,
  clip_low=3e-4,
  clip_high=4e-4,
):
  """GSPO-token: the row's ratio is frozen, each token has its own gradient."""
  losses = np.zeros(np.shape(logprobs))
  for row in range(len(logprobs)):
    inside = [t for t in range(len(logprobs[row])) if completion_mask[row, t]]
    gaps = [frozen_logprobs[row, t] - old_logprobs[row, t] for t in inside]
    ratio = math.exp(math.fsum(gaps) / len(inside)) if inside else 1.0
    for t in inside:
      own = ratio * math.exp(logprobs[row, t] - frozen_logprobs[row, t])
      bounded = min(max(own, 1 - clip_low), 1 + clip_high)
      credit = float(token_advantages[row, t])
      losses[row, t] = -min(own * credit, bounded * credit)
  return losses


def gspo(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  completion_mask,
  clip_low=3e-4,
  clip_high=4e-4,
):
  """GSPO itself: nothing frozen, one ratio for every token of a row."""
  losses = np.zeros(np.shape(logprobs))
  for row in range(len(logprobs)):
    inside = [t for t in range(len(logprobs[row])) if completion_mask[row, t]]
    # The geometric mean of the tokens' ratios.
    ratio = 1.0
    for t in inside:
      ratio *= math.exp(logprobs[row, t] - old_logprobs[row, t]) ** (
        1.0 / len(inside)
      )
    bounded = min(max(ratio, 1 - clip_low), 1 + clip_high)
    for t in inside:
      credit = float(token_advantages[row, t])
      losses[row, t] = -min(ratio * credit, bounded * credit)
  return losses


def cispo_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  token_advantages,
  clip_low=1.0,
  clip_high=0.28,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    weight = math.exp(frozen_logprobs[cell] - old_logprobs[cell])
    weight = max(1 - clip_low, min(1 + clip_high, weight))
    losses[cell] = -weight * token_advantages[cell] * logprobs[cell]
  return losses


cispo = surrogates.at_itself(cispo_surrogate)
