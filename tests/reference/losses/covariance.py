"""Losses that tell tokens by their covariance, in float64."""

import math

import numpy as np

from tests.reference import grid


def clip_cov(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  clip_cov_tokens,
  clip_low=0.2,
  clip_high=0.2,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    if clip_cov_tokens[cell]:
      continue
    ratio = math.exp(logprobs[cell] - old_logprobs[cell])
    credit = float(token_advantages[cell])
    # Pessimism by cases: the clip binds only in the direction of the credit.
    if credit > 0:
      ratio = min(ratio, 1 + clip_high)
    elif credit < 0:
      ratio = max(ratio, 1 - clip_low)
    losses[cell] = -ratio * credit
  return losses


def kl_cov(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  kl_cov_tokens,
  kl_cov_coef=1.0,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    gap = float(logprobs[cell]) - float(old_logprobs[cell])
    losses[cell] = -token_advantages[cell] * math.exp(gap)
    if kl_cov_tokens[cell]:
      losses[cell] += kl_cov_coef * abs(gap)
  return losses
