"""Added terms by loops over tokens, in float64."""

import math

import numpy as np

from tests.reference import grid


def kl_k1(*, logprobs, ref_logprobs):
  values = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    # -log r with r = ref / policy, in the note's notation.
    values[cell] = -(ref_logprobs[cell] - logprobs[cell])
  return values


def kl_k2(*, logprobs, ref_logprobs):
  values = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    values[cell] = (ref_logprobs[cell] - logprobs[cell]) ** 2 / 2
  return values


def kl_k3(*, logprobs, ref_logprobs):
  values = np.zeros(np.shape(logprobs))
  for cell in grid.every(logprobs):
    log_ratio = float(ref_logprobs[cell]) - float(logprobs[cell])
    values[cell] = math.exp(log_ratio) - 1.0 - log_ratio
  return values


def entropy_bonus(*, entropies):
  losses = np.zeros(np.shape(entropies))
  for cell in grid.every(entropies):
    losses[cell] = -entropies[cell]
  return losses
