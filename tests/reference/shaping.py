"""Shaped rewards by loops over rows, in float64."""

import numpy as np


def overlong_penalty(
  *, rewards, completion_mask, max_tokens=20480, buffer_tokens=4096
):
  found = np.zeros(len(rewards))
  for row in range(len(rewards)):
    length = sum(1 for inside in completion_mask[row] if inside)
    free = max_tokens - buffer_tokens
    # Eq. 13 of the paper, case by case.
    if length <= free:
      penalty = 0.0
    elif length <= max_tokens:
      penalty = (length - free) / buffer_tokens
    else:
      penalty = 1.0
    found[row] = rewards[row] - penalty
  return found


def sequence_kl_penalty(
  *, rewards, old_logprobs, ref_logprobs, completion_mask, kl_coef=0.03
):
  found = np.zeros(len(rewards))
  for row in range(len(rewards)):
    found[row] = rewards[row]
    for token in range(len(completion_mask[row])):
      if completion_mask[row, token]:
        gap = old_logprobs[row, token] - ref_logprobs[row, token]
        found[row] -= kl_coef * gap
  return found


def unlikeliness(
  *,
  rewards,
  frozen_logprobs,
  completion_mask,
  group_ids,
  valid,
  rank_coef=0.25,
):
  def mean(row):
    inside = [t for t, m in enumerate(completion_mask[row]) if m]
    total = sum(frozen_logprobs[row, t] for t in inside)
    return total / max(len(inside), 1)

  found = np.zeros(len(rewards))
  for row in range(len(rewards)):
    peers = [
      other
      for other in range(len(rewards))
      if valid[other] and group_ids[other] == group_ids[row]
    ]
    rank = sum(1 for other in peers if mean(other) < mean(row))
    found[row] = rewards[row] * (1 - rank_coef * rank / max(len(peers), 1))
  return found
