"""Cells of a batch, row by row."""

import numpy as np


def every(array):
  """All (row, token) of float[B, T]."""
  rows, num_tokens = np.shape(array)
  return [(row, token) for row in range(rows) for token in range(num_tokens)]


def inside(completion_mask):
  """Those of the completions."""
  return [cell for cell in every(completion_mask) if completion_mask[cell]]
