"""How far means over seeds may be trusted: 95 % bootstrap intervals."""

import numpy as np

_DRAWS = 10_000
_ENDS = (0.025, 0.975)


def over_seeds(values: np.ndarray) -> tuple[float, float, float]:
  """Mean of one value a seed, f64[S], and the ends of an interval of it."""
  rng = np.random.default_rng(0)
  values = np.asarray(values, float)
  draws = rng.integers(0, len(values), (_DRAWS, len(values)))
  low, high = np.quantile(values[draws].mean(axis=1), _ENDS)
  return float(values.mean()), float(low), float(high)


def paired(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
  """Mean difference over the same seeds and problems, and an interval of it.

  Seeds and problems are drawn anew, each with all that belongs to them: the
  samples of a problem are not independent, nor are the problems of a seed; and
  since all seeds have the same problems, those are drawn once for all seeds.
  With a single seed the interval is one over problems alone.

  Args:
    ours: f64[S, N], of each seed and problem.
    theirs: f64[S, N], of the same.

  Returns:
    The mean of ours - theirs, and the interval's ends.
  """
  change = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
  rng = np.random.default_rng(0)
  # How often each is drawn, as a share.
  of_seeds, of_problems = (
    rng.multinomial(number, [1 / number] * number, _DRAWS) / number
    for number in change.shape
  )
  means = np.sum((of_seeds @ change) * of_problems, axis=1)
  low, high = np.quantile(means, _ENDS)
  return float(change.mean()), float(low), float(high)
