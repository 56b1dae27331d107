"""Which words of doubt a run counts, and where it counts them."""

from collections.abc import Sequence
import dataclasses

import jax
import numpy as np

from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import vocabulary as vocabulary_lib
from rlvr_jax.metrics import epistemic
from rlvr_jax.metrics import marker_tokens

# Of the sampler, far below any logit [code: SIA-code].
SUPPRESSION = -100.0


@dataclasses.dataclass(frozen=True)
class EpistemicConfig:
  """The markers of epistemic verbalization; see `metrics.epistemic`.

  Example: EpistemicConfig(preset="sdd10").
  """

  # A list by its name, "sdd10" or "sia9".
  preset: str = ""
  # Or words of your own.
  words: tuple[str, ...] = ()

  def __post_init__(self):
    settings.require(
      bool(self.preset) != bool(self.words),
      f"config.epistemic has preset {self.preset!r} and words {self.words!r}:"
      " give one of the two",
    )
    epistemic.markers(self.preset or self.words)

  @property
  def markers(self) -> tuple[str, ...]:
    """The words, in lower case."""
    return epistemic.markers(self.preset or self.words)


def token_table(
  config: EpistemicConfig | None, vocabulary: vocabulary_lib.Vocabulary
) -> np.ndarray | None:
  """Which tokens are markers, bool[V]; None without a list.

  Raises:
    errors.UserError: if no token is one.
  """
  if not config:
    return None
  return marker_tokens.marker_table(vocabulary.symbols, config.markers)


def suppressing(table: np.ndarray) -> np.ndarray:
  """A logit bias f32[V] under which no marker is sampled."""
  return np.where(table, SUPPRESSION, 0.0).astype(np.float32)


def rollout_metrics(
  rollouts: records.RolloutBatch, table: np.ndarray
) -> dict[str, jax.Array]:
  """Marker tokens in judged rollouts, f32[] by name."""
  fields = records.fields(rollouts)
  means = marker_tokens.marker_means(
    completion_tokens=rollouts.completion_tokens,
    completion_mask=rollouts.completion_mask * rollouts.valid[:, None],
    is_correct=rollouts.is_correct,
    table=table,
    logprobs=fields["frozen_logprobs"],
    entropies=rollouts.frozen_entropies,
  )
  return {name: mean.value() for name, mean in means.items()}


def text_metrics(
  tokens: np.ndarray,
  is_correct: np.ndarray,
  vocabulary: vocabulary_lib.Vocabulary,
  markers: Sequence[str],
) -> dict[str, float]:
  """Words in decoded responses: Tier 1 of the framework's measures.

  Args:
    tokens: i32[R, T], right-padded.
    is_correct: bool[R].
    vocabulary: decodes them.
    markers: in lower case.
  """
  texts = [vocabulary.decode(row) for row in tokens]
  stops = np.isin(tokens, vocabulary.stop_ids)
  # Up to the first end, itself included: a pad may be an end token too.
  real = np.cumsum(stops, axis=1) - stops == 0
  return epistemic.text_metrics(
    texts,
    real.sum(axis=1),
    is_correct,
    markers,
    was_cut=~np.any(stops, axis=1),
    tokens=[row[kept] for row, kept in zip(tokens, real, strict=True)],
  )
