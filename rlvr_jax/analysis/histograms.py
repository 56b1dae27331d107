"""How log-probabilities and entropies of tokens are spread.

100 bins over [-30, 0] and [0, 10] nats, and a table by token id [code:
SIA-code:analysis/analyze_token_distribution.py]. Counts and sums are kept, so
that batches merge.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from rlvr_jax import settings

NUM_BINS = 100
LOGPROB_RANGE, ENTROPY_RANGE = (-30.0, 0.0), (0.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Histogram:
  """Counts of values in bins of equal width.

  Attributes:
    low: lower edge of the first bin, nats.
    high: upper edge of the last, which belongs to it.
    counts: i64[K].
    num_outside: values beyond the edges; they are in no bin.
  """

  low: float
  high: float
  counts: np.ndarray
  num_outside: int

  @property
  def width(self) -> float:
    """Of a bin, nats."""
    return (self.high - self.low) / len(self.counts)

  @property
  def density(self) -> np.ndarray:
    """count / (N * width), f64[K], N values in bins; 0 without any."""
    return self.counts / (max(int(self.counts.sum()), 1) * self.width)

  def merge(self, other: "Histogram") -> "Histogram":
    """Of both sets of values.

    Raises:
      errors.UserError: if the bins differ.
    """
    bins = lambda x: (x.low, x.high, len(x.counts))
    settings.require(
      bins(self) == bins(other),
      f"histograms have bins {bins(self)} and {bins(other)}: merge those with"
      " the same edges and number of bins",
    )
    return dataclasses.replace(
      self,
      counts=self.counts + other.counts,
      num_outside=self.num_outside + other.num_outside,
    )


def histogram(
  values: np.ndarray,
  mask: np.ndarray,
  *,
  value_range: tuple[float, float],
  num_bins: int = NUM_BINS,
) -> Histogram:
  """Histogram of the values under a mask, of any shape."""
  kept = np.asarray(values, np.float64)[np.asarray(mask) > 0]
  counts, _ = np.histogram(kept, num_bins, value_range)
  return Histogram(
    *value_range, counts.astype(np.int64), len(kept) - int(counts.sum())
  )


def token_histograms(
  *, logprobs: np.ndarray, entropies: np.ndarray, mask: np.ndarray
) -> dict[str, Histogram]:
  """The two histograms of responses, "logprobs" and "entropies".

  Args:
    logprobs: f32[B, T], nats, of the tokens taken.
    entropies: f32[B, T], nats, over the full vocabulary.
    mask: f32[B, T], 1 on generated tokens.
  """
  # A certain token has both at 0, and rounding puts some of them past it.
  below = np.minimum(np.asarray(logprobs), 0.0)
  above = np.maximum(np.asarray(entropies), 0.0)
  return {
    "logprobs": histogram(below, mask, value_range=LOGPROB_RANGE),
    "entropies": histogram(above, mask, value_range=ENTROPY_RANGE),
  }


@dataclasses.dataclass(frozen=True)
class TokenTable:
  """Sums by token id.

  Attributes:
    counts: i64[V], how often each token was taken.
    logprob_sums: f64[V], nats.
    entropy_sums: f64[V], nats, at the positions where it was taken.
  """

  counts: np.ndarray
  logprob_sums: np.ndarray
  entropy_sums: np.ndarray

  @property
  def mean_logprobs(self) -> np.ndarray:
    """f64[V], nats; 0 for tokens that never came."""
    return self.logprob_sums / np.maximum(self.counts, 1)

  @property
  def mean_entropies(self) -> np.ndarray:
    """f64[V], nats; 0 for tokens that never came."""
    return self.entropy_sums / np.maximum(self.counts, 1)

  def merge(self, other: "TokenTable") -> "TokenTable":
    """Of both batches."""
    return TokenTable(
      self.counts + other.counts,
      self.logprob_sums + other.logprob_sums,
      self.entropy_sums + other.entropy_sums,
    )

  def rows(self, symbols: Sequence[str]) -> list[dict[str, str | int | float]]:
    """Tokens that came, the most frequent first, with the text of each."""
    order = np.argsort(-self.counts, kind="stable")
    return [
      {
        "token": int(i),
        "text": symbols[i],
        "count": int(self.counts[i]),
        "mean_logprob": float(self.mean_logprobs[i]),
        "mean_entropy": float(self.mean_entropies[i]),
      }
      for i in order[: np.count_nonzero(self.counts)]
    ]


def token_table(
  *,
  completion_tokens: np.ndarray,
  logprobs: np.ndarray,
  entropies: np.ndarray,
  mask: np.ndarray,
  vocab_size: int,
) -> TokenTable:
  """Count, log-probabilities and entropies by token id.

  Args:
    completion_tokens: i32[B, T].
    logprobs: f32[B, T], nats.
    entropies: f32[B, T], nats.
    mask: f32[B, T], 1 on generated tokens.
    vocab_size: V.
  """
  inside = np.asarray(mask) > 0
  ids = np.asarray(completion_tokens)[inside]
  sums = lambda values: np.bincount(
    ids, np.asarray(values, np.float64)[inside], minlength=vocab_size
  )
  counts = np.bincount(ids, minlength=vocab_size)
  return TokenTable(counts, sums(logprobs), sums(entropies))
