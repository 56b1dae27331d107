"""Accuracy of k tries, and how far it may be trusted."""

import numpy as np


def pass_at_k(num_correct: np.ndarray, num_samples: int, k: int) -> np.ndarray:
  """Chance that at least one of k samples is right, per problem; unbiased.

  pass@k = 1 - C(n - c, k) / C(n, k)

  See "Evaluating Large Language Models Trained on Code", Chen et al.
  (https://arxiv.org/abs/2107.03374), eq. 1.

  Args:
    num_correct: int[N], c of each problem.
    num_samples: n.
    k: 1 .. n.

  Returns:
    f64[N].

  Raises:
    ValueError: if k or a count is out of range.
  """
  counts = np.asarray(num_correct)
  if not 1 <= k <= num_samples:
    raise ValueError(f"k is {k}: it goes from 1 to the {num_samples} samples")
  if counts.size and (counts.min() < 0 or counts.max() > num_samples):
    raise ValueError(
      f"num_correct holds {counts.min()} .. {counts.max()}: it goes from 0"
      f" to the {num_samples} samples"
    )
  # Product of (n - c - i) / (n - i): no factorial that overflows.
  wrong = (num_samples - counts)[:, None] - np.arange(k)
  factors = np.maximum(wrong, 0) / (num_samples - np.arange(k))
  return 1.0 - np.prod(factors, axis=1)


def avg_at_k(num_correct: np.ndarray, num_samples: int) -> np.ndarray:
  """avg@k: share of a problem's k samples that is right, per problem.

  The same number as pass@1, whose estimate all k samples serve.

  Args:
    num_correct: int[N], of each problem.
    num_samples: k.

  Returns:
    f64[N].

  Raises:
    ValueError: if a count is out of range.
  """
  return pass_at_k(num_correct, num_samples, 1)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
  """Mean over problems and its standard error, clustered by problem.

  Samples of one problem are not independent; the problems are, so the error
  is the deviation of the per-problem values over the root of their number.
  """
  values = np.asarray(values, np.float64)
  if values.size < 2:
    return float(values.mean()), float("nan")
  return float(values.mean()), float(values.std(ddof=1) / values.size**0.5)
