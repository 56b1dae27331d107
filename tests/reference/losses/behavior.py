"""Corrections for the sampler by loops over tokens, in float64."""

import math

import numpy as np

from tests.reference import grid


def truncated_importance(*, old_logprobs, sampler_logprobs, cap=2.0):
  """No other denominator of the ratio, and a factor of the loss."""
  weights = np.zeros(np.shape(old_logprobs))
  for cell in grid.every(old_logprobs):
    trainer = math.exp(old_logprobs[cell])
    weights[cell] = min(trainer / math.exp(sampler_logprobs[cell]), cap)
  return None, weights
