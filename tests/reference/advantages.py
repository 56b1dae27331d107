"""Advantages by loops over rows, in float64, from the papers' formulas."""

import math

import numpy as np


def _valid_peers(rewards, group_ids, valid, row):
  """Rewards of the valid rows of a row's group, its own included."""
  return [
    float(rewards[other])
    for other in range(len(rewards))
    if valid[other] and group_ids[other] == group_ids[row]
  ]


def grpo_advantages(
  *,
  rewards,
  group_ids,
  valid,
  normalize_std=True,
  epsilon=1e-6,
  ddof=1,
):
  found = np.zeros(len(rewards))
  for row in range(len(rewards)):
    if not valid[row]:
      continue
    peers = _valid_peers(rewards, group_ids, valid, row)
    mean = math.fsum(peers) / len(peers)
    found[row] = rewards[row] - mean
    if normalize_std:
      # A single row has no deviation, whatever the correction.
      std = 0.0
      if len(peers) > ddof:
        squares = math.fsum((peer - mean) ** 2 for peer in peers)
        std = math.sqrt(squares / (len(peers) - ddof))
      found[row] /= std + epsilon
  return found


def dr_grpo_advantages(*, rewards, group_ids, valid):
  found = np.zeros(len(rewards))
  for row in range(len(rewards)):
    if valid[row]:
      peers = _valid_peers(rewards, group_ids, valid, row)
      found[row] = rewards[row] - math.fsum(peers) / len(peers)
  return found


def rloo_advantages(*, rewards, group_ids, valid):
  found = np.zeros(len(rewards))
  for row in range(len(rewards)):
    others = [
      float(rewards[other])
      for other in range(len(rewards))
      if other != row and valid[other] and group_ids[other] == group_ids[row]
    ]
    if valid[row] and others:
      found[row] = rewards[row] - math.fsum(others) / len(others)
  return found


def reinforce_pp_advantages(*, rewards, valid, completion_mask, epsilon=1e-8):
  based = {r: float(rewards[r]) for r in range(len(rewards)) if valid[r]}
  return _whitened(based, completion_mask, epsilon)


def reinforce_pp_baseline_advantages(
  *, rewards, group_ids, valid, completion_mask, epsilon=1e-8
):
  based = {}
  for row in range(len(rewards)):
    if valid[row]:
      peers = _valid_peers(rewards, group_ids, valid, row)
      based[row] = float(rewards[row]) - math.fsum(peers) / len(peers)
  return _whitened(based, completion_mask, epsilon)


def _whitened(based, completion_mask, epsilon):
  per_token = [
    value
    for row, value in based.items()
    for inside in completion_mask[row]
    if inside
  ]
  mean = math.fsum(per_token) / max(len(per_token), 1)
  squares = math.fsum((value - mean) ** 2 for value in per_token)
  variance = squares / max(len(per_token) - 1, 1)
  found = np.zeros(len(completion_mask))
  for row, value in based.items():
    found[row] = (value - mean) / math.sqrt(variance + epsilon)
  return found


def signed_advantages(*, is_correct, positive_weight=0.1, negative_weight=1.0):
  values, keep = np.zeros(len(is_correct)), np.zeros(len(is_correct))
  for row in range(len(is_correct)):
    weight = positive_weight if is_correct[row] else negative_weight
    values[row] = weight if is_correct[row] else -weight
    keep[row] = 1.0 if weight else 0.0
  return values, keep


def mixed_groups(*, is_correct, group_ids, valid):
  keep = np.zeros(len(is_correct))
  for row in range(len(is_correct)):
    verdicts = set(_valid_peers(is_correct, group_ids, valid, row))
    keep[row] = 1.0 if verdicts == {0.0, 1.0} else 0.0
  return keep


def with_teacher(*, has_teacher):
  return np.array([1.0 if seen else 0.0 for seen in has_teacher])
