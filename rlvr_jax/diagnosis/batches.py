"""Rules about what was sampled and how it was judged.

Each takes a run and returns its evidence, sentences with figures and steps, or
None where there is nothing to tell.
"""

from rlvr_jax.diagnosis import series

# Less than a third of the batch then teaches anything.
UNIFORM_GROUPS = 0.7
# Half of the groups of 8 then hold two rows or more whose end nobody saw.
TRUNCATED = 0.25
# Rows that no verdict is known of; a sound verifier has next to none.
UNJUDGED = 0.05
# Times as long as at the start.
GROWTH = 1.5
# Gain in accuracy that a growth in length is worth.
GAIN = 0.02
# Steps; PACED-RL replays for four, and a policy moves on.
REPLAY_AGE = 8.0


def all_wrong_groups(run: series.Run) -> series.Evidence:
  """Most prompts have no right sample."""
  return _uniform(run, "wrong")


def all_right_groups(run: series.Run) -> series.Evidence:
  """Most prompts have no wrong sample."""
  return _uniform(run, "right")


def truncation(run: series.Run) -> series.Evidence:
  """Many responses end at the length limit."""
  found = series.points(run, "rollout/unfinished_frac")
  if not found or series.recent(found) < TRUNCATED:
    return None
  limit = series.setting(run, "rollout.completion_tokens")
  length = series.now(run, "rollout/completion_tokens")
  return (
    f"{series.recent(found):.0%} of the responses were cut off at"
    f" {series.span(found)}, {series.start(found):.0%} at the start",
    f"their mean length is {length:.1f} tokens, the limit {limit}",
  )


def length_explosion(run: series.Run) -> series.Evidence:
  """Responses grow, and win nothing or hit the limit."""
  lengths = series.points(run, "rollout/completion_tokens")
  if not lengths or not series.start(lengths):
    return None
  growth = series.recent(lengths) / series.start(lengths)
  gain = series.now(run, "train/accuracy") - series.then(run, "train/accuracy")
  cut = series.now(run, "rollout/unfinished_frac")
  if growth < GROWTH or (gain > GAIN and cut < TRUNCATED):
    return None
  return (
    f"responses have {series.recent(lengths):.1f} tokens at"
    f" {series.span(lengths)}, {growth:.1f} times the"
    f" {series.start(lengths):.1f} of the start",
    f"training accuracy changed by {gain:+.3f}, and {cut:.0%} are cut off",
  )


def verifier_failures(run: series.Run) -> series.Evidence:
  """Verdicts are missing."""
  names = ("timeout", "crash", "gold_unparsed")
  shares = {name: series.now(run, f"rollout/{name}_frac") for name in names}
  if sum(shares.values()) < UNJUDGED:
    return None
  each = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
  found = series.points(run, "rollout/crash_frac")
  return (
    f"{sum(shares.values()):.1%} of the responses were not judged at"
    f" {series.span(found)}: {each}",
    "such rows are left out of the loss and never scored 0",
  )


def replay_too_old(run: series.Run) -> series.Evidence:
  """Replayed rows come from a policy of long ago."""
  found = [
    (line["step"], line["replay/age"])
    for line in run.lines
    # The mean over no row is 0.
    if line.get("replay/age") is not None and line.get("replay/rows")
  ]
  if not found or series.recent(found) < REPLAY_AGE:
    return None
  rows = series.now(run, "replay/rows")
  return (
    f"replayed rows are {series.recent(found):.1f} steps old at"
    f" {series.span(found)}, and up to"
    f" {series.setting(run, 'replay.max_age')} are allowed",
    f"{rows:.0f} of them join each update",
  )


def _uniform(run: series.Run, verdict: str) -> series.Evidence:
  found = series.points(run, f"rollout/all_{verdict}_group_frac")
  if not found or series.recent(found) < UNIFORM_GROUPS:
    return None
  mixed = series.now(run, "rollout/mixed_group_frac")
  norm = series.now(run, "policy/grad_norm")
  return (
    f"{series.recent(found):.0%} of the prompts had all samples {verdict} at"
    f" {series.span(found)}, {series.start(found):.0%} at the start",
    f"{mixed:.0%} had both verdicts; training accuracy is"
    f" {series.now(run, 'train/accuracy'):.3f}, the gradient's norm {norm:.3g}",
  )
