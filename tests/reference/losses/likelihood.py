"""Likelihoods by loops over tokens, in float64."""

import numpy as np

from tests.reference import grid


def negative_log_likelihood(*, logprobs):
  losses = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    losses[cell] = -logprobs[cell]
  return losses


def reinforce(*, logprobs, token_advantages):
  losses = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    losses[cell] = -token_advantages[cell] * logprobs[cell]
  return losses
