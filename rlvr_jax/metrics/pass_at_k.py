"""Accuracy of k tries, and how far it may be trusted."""

import collections
from collections.abc import Hashable, Sequence

import numpy as np

_DRAWS = 10_000


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


def maj_at_k(
  answers: Sequence[Sequence[Hashable | None]], is_correct: np.ndarray
) -> np.ndarray:
  """maj@k: whether the most frequent of k answers is right, per problem.

  Where several are as frequent, the chance that one of them, drawn at random,
  is right. Samples without an answer have no vote.

  See "Self-Consistency Improves Chain of Thought Reasoning in Language Models"
  (https://arxiv.org/abs/2203.11171).

  Example: maj_at_k([["1", "2", "2", None]], [[1, 0, 0, 0]]) is [0.0].

  Args:
    answers: of each problem's k samples; None where there is none.
    is_correct: bool[N, k], of the samples.

  Returns:
    f64[N].
  """
  shares = []
  for of_problem, right in zip(answers, is_correct, strict=True):
    votes = collections.Counter(x for x in of_problem if x is not None)
    most = max(votes.values(), default=0)
    # Equal answers have equal verdicts, unless one could not be judged.
    judged = {
      answer: max(
        r for a, r in zip(of_problem, right, strict=True) if a == answer
      )
      for answer, number in votes.items()
      if number == most
    }
    shares.append(np.mean([*judged.values()]) if judged else 0.0)
  return np.array(shares, np.float64)


def paired_difference(
  ours: np.ndarray, theirs: np.ndarray
) -> tuple[float, float, float]:
  """Mean difference over the same problems, with a 95 % interval of it.

  Bootstrapped over problems: the samples of one are not independent.

  Args:
    ours: f64[N], per problem.
    theirs: f64[N], of the same problems.

  Returns:
    The mean of ours - theirs, and the interval's ends.
  """
  change = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
  rng = np.random.default_rng(0)
  means = [
    change[rng.integers(0, change.size, change.size)].mean()
    for _ in range(_DRAWS)
  ]
  low, high = np.quantile(means, [0.025, 0.975])
  return float(change.mean()), float(low), float(high)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
  """Mean over problems and its standard error, clustered by problem.

  Samples of one problem are not independent; the problems are, so the error
  is the deviation of the per-problem values over the root of their number.
  """
  values = np.asarray(values, np.float64)
  if values.size < 2:
    return float(values.mean()), float("nan")
  return float(values.mean()), float(values.std(ddof=1) / values.size**0.5)
