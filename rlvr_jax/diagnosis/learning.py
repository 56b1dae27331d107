"""Rules about how the policy, its head and its programs move."""

import math

from rlvr_jax.diagnosis import series

# Of the entropy at the start, between two steps that follow each other; in runs
# of the small experiments that are sound it is below 0.2.
JUMP = 0.5
# Of the accuracy at the first step that is left.
LOST = 0.5
# Of all steps, the few after the first: a step size that works undoes nothing
# at once, and what pushes the policy away by and by takes longer.
EARLY = slice(2, 5)
# Standard errors of the first step's accuracy over its prompts, below which a
# loss may be chance.
CHANCE = 2.0
# Nats per token between the policy and the one it started from: at half a nat
# most tokens are others.
KL_PER_TOKEN = 0.5
# Of the entropy at the start that is left, of all tokens and of the opening;
# 150 sound steps of experiments/grpo.py:tiny leave 0.3 of the one and 0.25 of
# the other.
COLLAPSED = 0.2
# Nats per token; above it a fresh model may just have learned the format. The
# same sound steps end at 0.08.
LITTLE_ENTROPY = 0.05
# Of the tokens, in the mean over the updates of a batch.
OUTSIDE = 0.15
# Of mean |estimate - measured accuracy| less counting noise. A young head that
# knows the mean alone misses by as much, so one of the next three has to hold.
HEAD_ERROR = 0.15
# Of the estimates' mean; a few steps of a step size that works undo it.
HEAD_BIAS = 0.15
# Of what a step moves the estimates by; below it the head stands still.
HEAD_DRIFT = 1e-3
# Rank correlation of a head that after so many steps tells no prompt apart.
HEAD_RANKS, HEAD_LONG = 0.1, 100
# Steps that a head may take to get to the mean.
HEAD_STEPS = 10
# The first two steps compile all that a step needs.
COMPILED_BY = 2
# A compilation or two have good reasons, such as a second round of sampling.
RECOMPILES = 3


def learning_rate_too_high(run: series.Run) -> series.Evidence:
  """The policy is another from one step to the next, and worse."""
  entropies = series.points(run, "rollout/entropy")
  accuracy = series.points(run, "train/accuracy")
  if len(entropies) < 2 or not series.start(entropies) or not accuracy:
    return None
  before, after = max(
    zip(entropies, entropies[1:], strict=False),
    key=lambda pair: abs(pair[1][1] - pair[0][1]),
  )
  # The first step alone: the update after it may have undone everything.
  jump = abs(after[1] - before[1]) / entropies[0][1]
  first, left = accuracy[0][1], series.recent(accuracy)
  early = series.start(accuracy[EARLY] or accuracy)
  prompts = series.setting(run, "prompts_per_step") or 1
  chance = CHANCE * math.sqrt(max(first * (1 - first), 0.0) / prompts)
  at_once = early < LOST * first and first - early > chance
  if left > LOST * first or not (at_once or jump >= JUMP):
    return None
  rate = series.setting(run, "optimizer.learning_rate")
  return (
    f"the sampling entropy went from {before[1]:.3f} at step {before[0]} to"
    f" {after[1]:.3f} at step {after[0]}, by {jump:.0%} of its start",
    f"training accuracy fell from {first:.3f} at step {accuracy[0][0]} to"
    f" {early:.3f} in the next few, and is {left:.3f} at"
    f" {series.span(accuracy)}",
    f"the learning rate is {rate}",
  )


def kl_blow_up(run: series.Run) -> series.Evidence:
  """The policy has left the one it started from."""
  found = series.points(run, "policy/response_kl_ref")
  length = series.now(run, "rollout/completion_tokens")
  if not found or not length:
    return None
  per_token = series.recent(found) / length
  if per_token < KL_PER_TOKEN:
    return None
  return (
    f"KL to the initial policy is {series.recent(found):.1f} nats a response"
    f" at {series.span(found)}, {per_token:.2f} a token; it was"
    f" {series.start(found):.3g} a response at the start",
    f"training accuracy went from {series.then(run, 'train/accuracy'):.3f} to"
    f" {series.now(run, 'train/accuracy'):.3f}",
  )


def entropy_collapse(run: series.Run) -> series.Evidence:
  """Nothing is left to try, least of all in how responses begin."""
  found = series.points(run, "policy/entropy")
  if not found or series.recent(found) > LITTLE_ENTROPY:
    return None
  left = _left(run, "policy/entropy")
  opening = _left(run, "policy/entropy_opening")
  if left > COLLAPSED or opening > COLLAPSED:
    return None
  classes = ", ".join(
    f"{text} {series.then(run, name):.3f} to {series.now(run, name):.3f}"
    for text, name in (
      ("first quarter", "policy/entropy_opening"),
      ("last token", "policy/entropy_last"),
    )
  )
  return (
    f"entropy fell from {series.start(found):.3f} to"
    f" {series.recent(found):.3f} nats a token at {series.span(found)}",
    f"by place in the response: {classes}",
    "tokens that are decided (below 0.01 nats) went from"
    f" {series.then(run, 'policy/decided_frac'):.0%} to"
    f" {series.now(run, 'policy/decided_frac'):.0%}",
  )


def clip_saturation(run: series.Run) -> series.Evidence:
  """Later updates of a batch find most of it outside of the trust region."""
  # The start too: a policy that this has ruined learns and moves no more.
  shares = [
    (when, of(run, "policy/ratio_low_frac"), of(run, "policy/ratio_high_frac"))
    for when, of in (("at the start", series.then), ("by now", series.now))
  ]
  if max(low + high for _, low, high in shares) < OUTSIDE:
    return None
  return (
    *(
      f"{when} {low:.1%} of the tokens have a ratio below the trust region and"
      f" {high:.1%} above"
      for when, low, high in shares
    ),
    f"in the mean of {series.setting(run, 'updates.num_minibatches')}"
    " updates a batch, of which the first has none; |ratio - 1| is"
    f" {series.now(run, 'policy/ratio_gap'):.3f}",
  )


def log_z_not_tracking(run: series.Run) -> series.Evidence:
  """The head's estimates are not what is measured, and stay so."""
  found = series.points(run, "curriculum/excess_error")
  if len(found) < HEAD_STEPS or series.recent(found) < HEAD_ERROR:
    return None
  drift = series.points(run, "log_partition/drift")
  bias = series.now(run, "curriculum/bias")
  ranks = series.now(run, "curriculum/rank_correlation")
  stands = bool(drift) and series.recent(drift) < HEAD_DRIFT
  blind = len(found) >= HEAD_LONG and ranks < HEAD_RANKS
  if abs(bias) < HEAD_BIAS and not stands and not blind:
    return None
  moved = f"a step moves them by {series.recent(drift):.2g}" if drift else ""
  return (
    "estimates of accuracy miss what is measured by"
    f" {series.now(run, 'curriculum/error'):.3f} at {series.span(found)},"
    f" {series.recent(found):.3f} more than counting noise"
    f" ({series.start(found):.3f} at the start)",
    f"they are {bias:+.3f} off in the mean, and their rank correlation with it"
    f" is {ranks:+.2f}",
    *([moved] if moved else []),
  )


def recompiles(run: series.Run) -> series.Evidence:
  """Steps go on compiling."""
  found = [
    line
    for line in run.timing
    if line["step"] > COMPILED_BY and line.get("compile/programs")
  ]
  if len(found) < RECOMPILES:
    return None
  programs = sum(line["compile/programs"] for line in found)
  secs = sum(line.get("compile/secs", 0.0) for line in found)
  return (
    f"{len(found)} of the steps after step {COMPILED_BY} compiled something,"
    f" steps {found[0]['step']} to {found[-1]['step']}",
    f"{programs:.0f} programs in {secs:.1f} s",
  )


def skipped_updates(run: series.Run) -> series.Evidence:
  """A loss or gradient is not finite."""
  found = series.points(run, "policy/skipped_frac")
  steps = [step for step, share in found if share > 0]
  if not steps:
    return None
  return (
    f"{len(steps)} of {len(found)} steps left an update out, the first at step"
    f" {steps[0]}, the last at step {steps[-1]}",
    "their batches lie in the run's folder, under skipped/",
  )


def _left(run: series.Run, name: str) -> float:
  began = series.then(run, name)
  return series.now(run, name) / began if began else 1.0
