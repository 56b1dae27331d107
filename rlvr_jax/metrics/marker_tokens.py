"""Markers of doubt as single tokens: a table, ids to suppress, means.

Approximate where `epistemic` is exact: a marker that the tokenizer writes with
several tokens is missed, and one that begins a longer word is counted. Where
every marker is one whole word, both agree by word.
"""

from collections.abc import Sequence

import chex
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from rlvr_jax import masked
from rlvr_jax import records
from rlvr_jax import settings


def marker_table(symbols: Sequence[str], markers: Sequence[str]) -> np.ndarray:
  """Which tokens are markers, bool[V].

  A token is one if its text equals a marker but for case and for white space
  around it. Spellings of several tokens are skipped, as in [code: SIA-code:
  analysis/analyze_token_distribution.py].

  Args:
    symbols: V texts, each token decoded alone.
    markers: in lower case, from `epistemic.markers`.

  Raises:
    errors.UserError: if no token is a marker.
  """
  wanted = frozenset(markers)
  table = np.array([text.strip().lower() in wanted for text in symbols], bool)
  settings.require(
    bool(table.any()),
    f"markers is {tuple(markers)!r}, none of which is one of the"
    f" {len(symbols)} tokens of this vocabulary: choose words that the"
    " tokenizer writes with one token, or count on texts alone",
  )
  return table


def marker_token_ids(
  symbols: Sequence[str], markers: Sequence[str]
) -> tuple[int, ...]:
  """Ids of all case and space variants of the markers, to suppress them.

  SIA's paper suppresses nine words and its code 19 token ids of another list;
  all single-token variants of one list are our reading of both [inferred].
  Store them with the run.

  Raises:
    errors.UserError: if no token is a marker.
  """
  return tuple(map(int, np.flatnonzero(marker_table(symbols, markers))))


def marker_means(
  *,
  completion_tokens: jax.Array,
  completion_mask: jax.Array,
  is_correct: jax.Array,
  table: np.ndarray,
  logprobs: jax.Array | None = None,
  entropies: jax.Array | None = None,
  d_hat: jax.Array | None = None,
  has_teacher: jax.Array | None = None,
) -> dict[str, records.Mean]:
  """Counts of marker tokens, and what the policy thinks where they stand.

  Log-probability and entropy at markers beside all positions are SIA's
  alignment plot as scalars: training on doubt works if its tokens lie within
  the student's support [paper excerpt: SIA v2].

  Args:
    completion_tokens: i32[B, T].
    completion_mask: f32[B, T], 0 on all of a row that does not count.
    is_correct: f32[B], the verifier's bit.
    table: bool[V], from `marker_table`.
    logprobs: f32[B, T], nats, of the tokens taken.
    entropies: f32[B, T], nats.
    d_hat: f32[B, T], nats, log-probability by student less that by teacher.
    has_teacher: f32[B], 0 on rows whose d_hat says nothing; all count if it is
      left out.

  Returns:
    epistemic/marker_tokens_mean, also /correct and /incorrect: per response.
    epistemic/marker_tokens_per_1k, also /correct and /incorrect: per 1000
      tokens.
    epistemic/logp_mean and epistemic/logp_mean_all: at markers and at all
      positions, nats per token; with `logprobs`.
    epistemic/entropy_mean and epistemic/entropy_mean_all: likewise.
    teacher/d_hat_epistemic: d_hat at markers, nats per token; above 0 the
      teacher likes doubt less than the student does.
  """
  chex.assert_equal_shape([completion_tokens, completion_mask])
  hits = jnp.asarray(table)[completion_tokens].astype(completion_mask.dtype)
  at_markers = completion_mask * hits
  # A row weighs what its tokens do, so that these sums add up row by row.
  counts = jnp.sum(at_markers, axis=1)
  lengths = jnp.sum(completion_mask, axis=1)
  rows = masked.row_weights(completion_mask)
  right = (is_correct > 0).astype(rows.dtype)
  means = {}
  for end, chosen in (
    ("", jnp.ones_like(rows)),
    ("/correct", right),
    ("/incorrect", 1.0 - right),
  ):
    total = jnp.sum(counts * chosen)
    means[f"epistemic/marker_tokens_mean{end}"] = records.Mean(
      total, jnp.sum(rows * chosen)
    )
    means[f"epistemic/marker_tokens_per_1k{end}"] = records.Mean(
      1000.0 * total, jnp.sum(lengths * chosen)
    )
  mean = lambda x, mask: masked.masked_mean(lax.stop_gradient(x), mask)
  for name, values in (("logp", logprobs), ("entropy", entropies)):
    if values is not None:
      means[f"epistemic/{name}_mean"] = mean(values, at_markers)
      means[f"epistemic/{name}_mean_all"] = mean(values, completion_mask)
  if d_hat is not None:
    if has_teacher is not None:
      taught = (has_teacher > 0).astype(at_markers.dtype)
      at_markers = at_markers * taught[:, None]
    means["teacher/d_hat_epistemic"] = mean(d_hat, at_markers)
  return means
