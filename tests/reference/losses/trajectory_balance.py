"""Losses per response by loops over rows, in float64."""

import math

import numpy as np

from tests.reference import surrogates


def _gaps(logprobs, others, completion_mask):
  """Log-ratios of the generated tokens, a list per row."""
  return [
    [float(p) - float(q) for p, q, kept in zip(*row, strict=True) if kept]
    for row in zip(logprobs, others, completion_mask, strict=True)
  ]


def _log_ratio(gaps, length_norm):
  """lr_seq, or lr_tok = lr_seq / |y|; an empty completion has none."""
  if not gaps:
    return 0.0
  return math.fsum(gaps) / (len(gaps) if length_norm == "token" else 1)


def seq_logratio(
  *, logprobs, anchor_logprobs, completion_mask, length_norm="none"
):
  gaps = _gaps(logprobs, anchor_logprobs, completion_mask)
  return np.array([_log_ratio(row, length_norm) for row in gaps])


def tb_residual(
  *,
  logprobs,
  anchor_logprobs,
  log_partition,
  rewards,
  completion_mask,
  inv_temp,
  length_norm="none",
):
  """Malkin et al.: log Z pi(y) / (anchor(y) R(y)), log R = kappa r."""
  residuals = []
  gaps = _gaps(logprobs, anchor_logprobs, completion_mask)
  for row, tokens in enumerate(gaps):
    log_reward = inv_temp * rewards[row] if tokens else 0.0
    residuals.append(
      math.fsum(
        [log_partition[row], _log_ratio(tokens, length_norm), -log_reward]
      )
    )
  return np.array(residuals)


def vargrad_log_z(
  *,
  logprobs,
  anchor_logprobs,
  rewards,
  group_ids,
  valid,
  completion_mask,
  inv_temp,
  length_norm="none",
  mean_over="group",
):
  """Richter et al.: the mean of kappa r - lr over the samples of a prompt."""
  gaps = _gaps(logprobs, anchor_logprobs, completion_mask)
  found = []
  for row in range(len(rewards)):
    terms = [
      inv_temp * rewards[other] - _log_ratio(tokens, length_norm)
      for other, tokens in enumerate(gaps)
      if tokens
      and valid[other]
      and (mean_over == "batch" or group_ids[other] == group_ids[row])
    ]
    found.append(math.fsum(terms) / len(terms) if terms else 0.0)
  return np.array(found)


def _raw_weight(gaps, w_mode):
  """(pi / pi_old)(y), its geometric mean over tokens, or 1."""
  ratio = 1.0
  for gap in gaps:
    ratio *= math.exp(gap)
  powers = {
    "none": 0.0, "sequence": 1.0, "token": 1.0 / max(len(gaps), 1)
  }  # fmt: skip
  return ratio ** powers[w_mode]


def flowrl_weight(
  *,
  logprobs,
  old_logprobs,
  completion_mask,
  w_mode="sequence",
  w_low=0.0,
  w_high=10.0,
):
  gaps = _gaps(logprobs, old_logprobs, completion_mask)
  raw = [_raw_weight(row, w_mode) for row in gaps]
  return np.array([max(w_low, min(weight, w_high)) for weight in raw])


def trajectory_balance_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  anchor_logprobs,
  log_partition,
  rewards,
  completion_mask,
  inv_temp,
  length_norm="none",
  w_mode="none",
  w_low=0.0,
  w_high=10.0,
  residual_low=-math.inf,
  residual_high=math.inf,
  units="nats",
):
  """FlowRL's w (z + lr - kappa r)^2, with GFlowRL's clip at the old policy.

  Returns losses, residuals, raw weights and weights.
  """
  found = []
  moved = _gaps(logprobs, old_logprobs, completion_mask)
  since = _gaps(frozen_logprobs, old_logprobs, completion_mask)
  old = _gaps(old_logprobs, anchor_logprobs, completion_mask)
  for row in range(len(rewards)):
    log_reward = inv_temp * rewards[row] if moved[row] else 0.0
    at_old = log_partition[row] + _log_ratio(old[row], length_norm) - log_reward
    at_old = max(residual_low, min(at_old, residual_high))
    residual = at_old + _log_ratio(moved[row], length_norm)
    raw = _raw_weight(since[row], w_mode)
    weight = max(w_low, min(raw, w_high))
    # In units of accuracy: (z / kappa - r + lr / kappa)^2.
    scaled = residual / inv_temp if units == "accuracy" else residual
    found.append((weight * scaled**2, residual, raw, weight))
  return tuple(np.array(column) for column in zip(*found, strict=True))


trajectory_balance = surrogates.at_itself(trajectory_balance_surrogate)
