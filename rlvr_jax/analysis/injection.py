"""Doubt injected into failed responses, over a grid of places to cut them.

Cut a failed response after a share of its tokens, append a phrase of doubt or
nothing, let the policy go on: does it recover? See SIA's injection experiment
[paper excerpt: v2]; no code of it is released. It finds about 15 % recovery,
while without a phrase recovery falls to about 0 for late cuts.

  found = inject(rollouts, phrases=..., length=..., pad_id=...)
  continued = sampler.generate(model, params, found.prompts, key, ...)
  judged = rewards.judge(whole_responses(found, continued, ...), verify)
  table = recovery_table(found, judged.is_correct, judged.valid)
"""

from collections.abc import Sequence
import dataclasses
import itertools
from typing import NamedTuple

import jax
import numpy as np

from rlvr_jax import records
from rlvr_jax import settings
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.metrics import pass_at_k

# Where to cut [paper excerpt: v2].
FRACTIONS = (0.2, 0.5, 0.8, 0.9)
# Of the normal distribution: intervals of 95 %.
_Z = 1.959964


@dataclasses.dataclass(frozen=True)
class Injection:
  """N prefixes to continue, and what each is made of.

  They are ordered by failed row, then fraction, then phrase.

  Attributes:
    prompts: PromptBatch with N prompts: prompt, kept tokens, phrase; left
      padded. prompt_ids = 0 .. N - 1, so that each draws its own numbers.
    rows: i32[N], row of the rollouts that was cut.
    fractions: f64[N].
    phrases: i32[N], index into `phrase_ids`.
    num_given: i32[N], kept tokens and phrase: what of the response is given.
    phrase_ids: token ids of each phrase; the first is empty, the control.
  """

  prompts: records.PromptBatch
  rows: np.ndarray
  fractions: np.ndarray
  phrases: np.ndarray
  num_given: np.ndarray
  phrase_ids: tuple[tuple[int, ...], ...]


class Recovery(NamedTuple):
  """One cell of the grid.

  Attributes:
    fraction: share of the response that was kept.
    phrase: token ids; () is the control.
    rate: share of continuations that end right, mean over failed rows.
    low: lower end of its 95 % interval.
    high: upper end.
    gain: rate minus that of the control at the same fraction, over the rows
      that both have; None without such rows.
    gain_error: its standard error over rows; None for fewer than two.
    num_rows: failed rows behind it.
  """

  fraction: float
  phrase: tuple[int, ...]
  rate: float
  low: float
  high: float
  gain: float | None
  gain_error: float | None
  num_rows: int


def inject(
  rollouts: records.RolloutBatch,
  *,
  phrases: Sequence[Sequence[int]],
  length: int,
  pad_id: int,
  fractions: Sequence[float] = FRACTIONS,
  num_rows: int | None = None,
) -> Injection:
  """Prefixes of failed responses, as prompts for the sampler.

  A fraction is one of the response's tokens, end token included, rounded down
  [inferred]; a fraction below 1 therefore always cuts the end token off.

  Args:
    rollouts: judged.
    phrases: token ids of each phrase; the empty one is added as the control.
    length: P of the prefixes, to hold prompt, kept tokens and phrase.
    pad_id: what fills a row on the left.
    fractions: shares of a response to keep, in (0, 1).
    num_rows: how many failed rows to take, the first ones; None takes all.

  Raises:
    errors.UserError: if no row failed, a fraction or num_rows is out of range,
      or a prefix does not fit.
  """
  settings.require(
    len(fractions) > 0 and all(0.0 < x < 1.0 for x in fractions),
    f"fractions is {tuple(fractions)}: give one share in (0, 1) or more",
  )
  settings.require(
    num_rows is None or num_rows >= 1,
    f"num_rows is {num_rows}: take one failed row or more, or None for all",
  )
  phrase_ids = tuple(
    dict.fromkeys([(), *(tuple(map(int, phrase)) for phrase in phrases)])
  )
  host = jax.device_get(rollouts)
  answered = np.any(host.completion_mask > 0, axis=1)
  failed = (host.valid > 0) & (host.is_correct <= 0) & answered
  settings.require(
    bool(failed.any()),
    f"rollouts holds {len(failed)} rows, none of which failed: give rows that"
    " were judged wrong",
  )
  grid = list(
    itertools.product(
      np.flatnonzero(failed)[:num_rows].tolist(),
      dict.fromkeys(fractions),
      range(len(phrase_ids)),
    )
  )
  given = [
    (*_kept(host, row, fraction), *phrase_ids[number])
    for row, fraction, number in grid
  ]
  rows, kept_fractions, numbers = zip(*grid, strict=True)
  source = np.asarray(rows) // _samples(host)
  prefixes = [
    (*_question(host, prompt), *part)
    for prompt, part in zip(source, given, strict=True)
  ]
  longest = max(map(len, prefixes))
  settings.require(
    longest <= length,
    f"length is {length}, but a prompt with what is kept of its response and a"
    f" phrase takes {longest} tokens: set it to {longest} or more",
  )
  tokens, mask = prompts_lib.pad_left(prefixes, length, pad_id)
  return Injection(
    prompts=records.PromptBatch(
      prompt_tokens=tokens,
      prompt_mask=mask,
      prompt_ids=np.arange(len(rows), dtype=np.int32),
      answers=jax.tree.map(lambda x: x[source], host.prompts.answers),
    ),
    rows=np.asarray(rows, np.int32),
    fractions=np.asarray(kept_fractions, np.float64),
    phrases=np.asarray(numbers, np.int32),
    num_given=np.asarray(list(map(len, given)), np.int32),
    phrase_ids=phrase_ids,
  )


def whole_responses(
  injection: Injection, continued: records.RolloutBatch, *, pad_id: int
) -> records.RolloutBatch:
  """What was given of each response and what was sampled, as one completion.

  A verifier reads whole responses, not their ends.

  Args:
    injection: of `inject`.
    continued: the sampler's continuations of its prompts, B = N * samples.
    pad_id: what fills a row on the right.

  Returns:
    RolloutBatch with completions [B, T'], to be judged; fields by token of the
    continuation alone are left out.
  """
  host = jax.device_get(continued)
  samples = len(host.completion_tokens) // len(injection.rows)
  width = int(injection.num_given.max()) + host.completion_tokens.shape[1]
  rows = []
  for row, (sampled, kept) in enumerate(
    zip(host.completion_tokens, host.completion_mask > 0, strict=True)
  ):
    source = row // samples
    given = injection.num_given[source]
    start = injection.prompts.prompt_tokens.shape[1] - given
    rows.append(
      [*injection.prompts.prompt_tokens[source, start:], *sampled[kept]]
    )
  tokens = np.full((len(rows), width), pad_id, np.int32)
  mask = np.zeros((len(rows), width), np.float32)
  for tokens_row, mask_row, row in zip(tokens, mask, rows, strict=True):
    tokens_row[: len(row)] = row
    mask_row[: len(row)] = 1.0
  return records.RolloutBatch(
    prompts=injection.prompts,
    completion_tokens=tokens,
    completion_mask=mask,
    group_ids=host.group_ids,
    sample_index=host.sample_index,
    valid=host.valid,
    finished=host.finished,
  )


def recovery_table(
  injection: Injection,
  is_correct: np.ndarray,
  valid: np.ndarray | None = None,
) -> list[Recovery]:
  """How often each phrase turns a failure, by fraction; in the grid's order.

  Continuations of one row are not independent, so the interval is Wilson's for
  as many trials as there are rows: too wide if they were independent, never
  too narrow for them [inferred]. Rows of one prompt count as independent: give
  one failed row per prompt where that matters. The gain over the control is
  paired by row.

  Args:
    injection: of `inject`.
    is_correct: f32[N * samples], verdicts on continuations, by prefix.
    valid: f32[N * samples], 0 on those that were not judged.

  Raises:
    errors.UserError: if the number of verdicts does not fit.
  """
  verdicts = np.asarray(is_correct, np.float64)
  num_prefixes = len(injection.rows)
  settings.require(
    verdicts.size > 0 and verdicts.size % num_prefixes == 0,
    f"is_correct has {verdicts.size} entries for {num_prefixes} prefixes: give"
    " the same number of continuations for each",
  )
  judged = np.ones(verdicts.shape) if valid is None else np.asarray(valid) > 0
  right = ((verdicts > 0) & (judged > 0)).reshape(num_prefixes, -1).sum(axis=1)
  judged = judged.reshape(num_prefixes, -1).sum(axis=1)
  cells: dict[tuple[float, int], dict[int, float]] = {}
  for row, fraction, phrase, good, total in zip(
    injection.rows.tolist(),
    injection.fractions.tolist(),
    injection.phrases.tolist(),
    right,
    judged,
    strict=True,
  ):
    cell = cells.setdefault((fraction, phrase), {})
    if total > 0:
      cell[row] = float(good / total)
  return [
    _recovery(fraction, injection.phrase_ids[phrase], cell, cells[fraction, 0])
    for (fraction, phrase), cell in cells.items()
    if cell
  ]


def wilson_interval(rate: float, num_trials: int) -> tuple[float, float]:
  """Interval of 95 % for a share, [0, 1]; sensible at 0 and 1 too.

  Example: wilson_interval(0.0, 10) = (0, 0.2775).

  Args:
    rate: measured share.
    num_trials: 1 or more.
  """
  spread = _Z**2 / num_trials
  centre = rate + spread / 2
  half = _Z * np.sqrt(
    rate * (1.0 - rate) / num_trials + spread / num_trials / 4
  )
  clip = lambda x: float(np.clip(x / (1.0 + spread), 0.0, 1.0))
  return clip(centre - half), clip(centre + half)


def _samples(rollouts: records.RolloutBatch) -> int:
  """Rows per prompt."""
  num_prompts = rollouts.prompts.prompt_ids.shape[0]
  return rollouts.completion_tokens.shape[0] // num_prompts


def _question(rollouts: records.RolloutBatch, prompt: int) -> np.ndarray:
  """Real tokens of a prompt."""
  prompts = rollouts.prompts
  return prompts.prompt_tokens[prompt][prompts.prompt_mask[prompt] > 0]


def _kept(
  rollouts: records.RolloutBatch, row: int, fraction: float
) -> np.ndarray:
  """The first share of a response's tokens."""
  response = rollouts.completion_tokens[row][rollouts.completion_mask[row] > 0]
  # 0.29 of a hundred is 28.999999999999996.
  return response[: int(np.floor(fraction * len(response) + 1e-9))]


def _recovery(fraction, phrase, cell, control) -> Recovery:
  rate = float(np.mean(list(cell.values())))
  low, high = wilson_interval(rate, len(cell))
  gains = [cell[row] - control[row] for row in cell if row in control]
  gain, gain_error = None, None
  if gains:
    gain, gain_error = pass_at_k.mean_and_error(np.asarray(gains))
  return Recovery(
    fraction=fraction,
    phrase=phrase,
    rate=rate,
    low=low,
    high=high,
    gain=gain,
    gain_error=gain_error if len(gains) > 1 else None,
    num_rows=len(cell),
  )
