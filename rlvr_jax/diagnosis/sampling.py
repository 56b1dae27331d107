"""Rules about sampler and trainer, which should agree on every token.

All look at the gap between the two before the update, so that no update of a
batch's own is in it. What shape it has tells where it comes from; at most one
of the rules speaks.
"""

import math

from rlvr_jax.diagnosis import series
from rlvr_jax.soundness import consistency

# Of |gap|; mass that nobody took off makes all gaps of one sign.
ONE_SIDED = 0.95
# Of gap^2 that one factor on all surprises explains; other weights have little
# of it, and numbers of other tokens half.
EXPLAINED = 0.6
# Of what the mean gap has to be if the sampler drew the tokens from what it
# reports: then it is -KL(sampler || trainer), about -gap^2 / 2. Numbers of
# other tokens have a mean gap of 0.
DRAWN = 0.3


def temperature_mismatch(run: series.Run) -> series.Evidence:
  """The gap is what another temperature makes of every token."""
  if _kind(run) != "temperature":
    return None
  slope = series.now(run, "policy/sampler_slope")
  return (
    *_gap(run),
    f"{_explained(run):.0%} of its square is what a factor on all log-probs"
    " explains",
    f"it fits a trainer's temperature of {math.exp(-slope):.2f} times the"
    " sampler's, to first order",
  )


def top_p_mismatch(run: series.Run) -> series.Evidence:
  """The gap has one sign: truncation kept less than all mass."""
  if _kind(run) != "truncation":
    return None
  shift = series.now(run, "policy/sampler_shift")
  return (
    *_gap(run),
    f"its mean is {shift:+.3g}: the trainer's log-probs are below the"
    " sampler's at all tokens",
    f"so the sampler draws from {math.exp(shift):.2f} of the mass (a geometric"
    " mean) and reports log-probs renormalised to it",
  )


def stale_weights(run: series.Run) -> series.Evidence:
  """The gap comes with the steps."""
  if _kind(run) != "stale":
    return None
  found = series.points(run, "policy/sampler_old_gap")
  since = next(step for step, gap in found if gap > allowed(run))
  return (
    *_gap(run),
    f"it was {found[0][1]:.3g} at step {found[0][0]} and is above the bound"
    f" since step {since}: sampler and trainer began alike",
  )


def sampler_mismatch(run: series.Run) -> series.Evidence:
  """The gap is there from the start and has none of these shapes."""
  if _kind(run) != "other":
    return None
  return (
    *_gap(run),
    "it is there from the first step; a factor on all log-probs explains"
    f" {_explained(run):.0%} of it",
    f"its mean is {series.now(run, 'policy/sampler_shift'):+.2g}, and"
    f" {-_square(run) / 2:+.2g} is what tokens drawn from the reported"
    " distribution would give",
  )


def allowed(run: series.Run) -> float:
  """The largest gap that counts as rounding, nats per token."""
  return consistency.allowed_gap(
    series.setting(run, "consistency.max_gap") or 0.0,
    series.setting(run, "model.dtype") or "float32",
  )


def _kind(run: series.Run) -> str:
  """What the gap looks like, "" if it is rounding."""
  found = series.points(run, "policy/sampler_old_gap")
  if not found or series.recent(found) <= allowed(run):
    return ""
  if found[0][1] <= allowed(run):
    return "stale"
  shift = series.now(run, "policy/sampler_shift")
  if -shift >= ONE_SIDED * series.recent(found):
    return "truncation"
  drawn = -shift >= DRAWN * _square(run) / 2
  fits = drawn and _explained(run) >= EXPLAINED
  return "temperature" if fits else "other"


def _square(run: series.Run) -> float:
  return series.now(run, "policy/sampler_gap_square")


def _explained(run: series.Run) -> float:
  """Share of gap^2 that one slope explains."""
  square = _square(run)
  surprise = series.now(run, "policy/sampler_surprise_square")
  slope = series.now(run, "policy/sampler_slope")
  return slope**2 * surprise / square if square else 0.0


def _gap(run: series.Run) -> tuple[str, ...]:
  found = series.points(run, "policy/sampler_old_gap")
  return (
    f"sampler and trainer differ by {series.recent(found):.3g} nats a token at"
    f" {series.span(found)}, before the update; rounding is at most"
    f" {allowed(run):g}",
  )
