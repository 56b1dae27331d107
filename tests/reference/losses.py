"""Losses, corrections and reductions by loops over tokens, in float64.

Where a loss freezes a part of itself, its `_surrogate` takes the frozen
log-probabilities apart from the live ones, so that finite differences leave
them alone.
"""

import math

import numpy as np


def _cells(array):
  rows, num_tokens = np.shape(array)
  return [(row, token) for row in range(rows) for token in range(num_tokens)]


def ppo_clip(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  clip_low=0.2,
  clip_high=0.2,
  dual_clip=0.0,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    ratio = math.exp(logprobs[cell] - old_logprobs[cell])
    credit = float(token_advantages[cell])
    bounded = ratio
    if bounded < 1 - clip_low:
      bounded = 1 - clip_low
    if bounded > 1 + clip_high:
      bounded = 1 + clip_high
    objective = min(ratio * credit, bounded * credit)
    if dual_clip and credit < 0:
      # The objective never falls below dual_clip * A.
      objective = max(objective, dual_clip * credit)
    losses[cell] = -objective
  return losses


def gspo_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  token_advantages,
  completion_mask,
  clip_low=3e-4,
  clip_high=4e-4,
):
  """GSPO-token: the row's ratio is frozen, each token has its own gradient."""
  losses = np.zeros(np.shape(logprobs))
  for row in range(len(logprobs)):
    inside = [t for t in range(len(logprobs[row])) if completion_mask[row, t]]
    gaps = [frozen_logprobs[row, t] - old_logprobs[row, t] for t in inside]
    ratio = math.exp(math.fsum(gaps) / len(inside)) if inside else 1.0
    for t in inside:
      own = ratio * math.exp(logprobs[row, t] - frozen_logprobs[row, t])
      bounded = min(max(own, 1 - clip_low), 1 + clip_high)
      credit = float(token_advantages[row, t])
      losses[row, t] = -min(own * credit, bounded * credit)
  return losses


def gspo(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  completion_mask,
  clip_low=3e-4,
  clip_high=4e-4,
):
  """GSPO itself: nothing frozen, one ratio for every token of a row."""
  losses = np.zeros(np.shape(logprobs))
  for row in range(len(logprobs)):
    inside = [t for t in range(len(logprobs[row])) if completion_mask[row, t]]
    # The geometric mean of the tokens' ratios.
    ratio = 1.0
    for t in inside:
      ratio *= math.exp(logprobs[row, t] - old_logprobs[row, t]) ** (
        1.0 / len(inside)
      )
    bounded = min(max(ratio, 1 - clip_low), 1 + clip_high)
    for t in inside:
      credit = float(token_advantages[row, t])
      losses[row, t] = -min(ratio * credit, bounded * credit)
  return losses


def cispo_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  token_advantages,
  clip_low=1.0,
  clip_high=0.28,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    weight = math.exp(frozen_logprobs[cell] - old_logprobs[cell])
    weight = max(1 - clip_low, min(1 + clip_high, weight))
    losses[cell] = -weight * token_advantages[cell] * logprobs[cell]
  return losses


def cispo(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  clip_low=1.0,
  clip_high=0.28,
):
  return cispo_surrogate(
    logprobs=logprobs,
    frozen_logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    clip_low=clip_low,
    clip_high=clip_high,
  )


def clip_cov(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  clip_cov_tokens,
  clip_low=0.2,
  clip_high=0.2,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    if clip_cov_tokens[cell]:
      continue
    ratio = math.exp(logprobs[cell] - old_logprobs[cell])
    credit = float(token_advantages[cell])
    # Pessimism by cases: the clip binds only in the direction of the credit.
    if credit > 0:
      ratio = min(ratio, 1 + clip_high)
    elif credit < 0:
      ratio = max(ratio, 1 - clip_low)
    losses[cell] = -ratio * credit
  return losses


def kl_cov(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  kl_cov_tokens,
  kl_cov_coef=1.0,
):
  losses = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    gap = float(logprobs[cell]) - float(old_logprobs[cell])
    losses[cell] = -token_advantages[cell] * math.exp(gap)
    if kl_cov_tokens[cell]:
      losses[cell] += kl_cov_coef * abs(gap)
  return losses


def negative_log_likelihood(*, logprobs):
  losses = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    losses[cell] = -logprobs[cell]
  return losses


def reinforce(*, logprobs, token_advantages):
  losses = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    losses[cell] = -token_advantages[cell] * logprobs[cell]
  return losses


def kl_k1(*, logprobs, ref_logprobs):
  values = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    # -log r with r = ref / policy, in the note's notation.
    values[cell] = -(ref_logprobs[cell] - logprobs[cell])
  return values


def kl_k2(*, logprobs, ref_logprobs):
  values = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    values[cell] = (ref_logprobs[cell] - logprobs[cell]) ** 2 / 2
  return values


def kl_k3(*, logprobs, ref_logprobs):
  values = np.zeros(np.shape(logprobs))
  for cell in _cells(logprobs):
    log_ratio = float(ref_logprobs[cell]) - float(logprobs[cell])
    values[cell] = math.exp(log_ratio) - 1.0 - log_ratio
  return values


def entropy_bonus(*, entropies):
  losses = np.zeros(np.shape(entropies))
  for cell in _cells(entropies):
    losses[cell] = -entropies[cell]
  return losses


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
  """FlowRL's w (z + lr - kappa r)^2, with GFlowRL's clip at the old policy."""
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


def trajectory_balance(
  *,
  logprobs,
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
  """Losses, residuals, raw weights and weights."""
  arguments = dict(locals())
  return trajectory_balance_surrogate(frozen_logprobs=logprobs, **arguments)


def _kl(one, other):
  """KL of two lists of probabilities; 0 log 0 is 0."""
  return math.fsum(
    p * math.log(p / q) for p, q in zip(one, other, strict=True) if p > 0
  )


def _views(support_logprobs, teacher_support_logprobs, cell, tail=None):
  """Probabilities of student and teacher over the candidates of a token."""
  found = []
  for view in (support_logprobs, teacher_support_logprobs):
    probs = [math.exp(value) for value in view[cell]]
    total = math.fsum(probs)
    if tail is True:
      probs.append(max(1 - total, -math.expm1(-1e-7)))
    elif tail is False:
      probs = [p / total for p in probs]
    found.append(probs)
  return found


def _mixed_kl(student, teacher, share):
  if share == 0:
    return _kl(teacher, student)
  if share == 1:
    return _kl(student, teacher)
  middle = [
    (1 - share) * s + share * t for s, t in zip(student, teacher, strict=True)
  ]
  return (1 - share) * _kl(student, middle) + share * _kl(teacher, middle)


def _taught(has_teacher, completion_mask):
  return [
    (row, token)
    for row, token in _cells(completion_mask)
    if completion_mask[row, token] and has_teacher[row]
  ]


def sdpo_surrogate(
  *,
  support_logprobs,
  teacher_support_logprobs,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  has_teacher,
  completion_mask,
  alpha=0.5,
  tail=True,
  max_ratio=2.0,
):
  del logprobs  # Only the frozen ones count.
  losses = np.zeros(np.shape(completion_mask))
  for cell in _taught(has_teacher, completion_mask):
    views = _views(support_logprobs, teacher_support_logprobs, cell, tail)
    ratio = math.exp(frozen_logprobs[cell] - old_logprobs[cell])
    losses[cell] = _mixed_kl(*views, alpha) * min(ratio, max_ratio)
  return losses


def sdpo(
  *,
  support_logprobs,
  teacher_support_logprobs,
  logprobs,
  old_logprobs,
  has_teacher,
  completion_mask,
  alpha=0.5,
  tail=True,
  max_ratio=2.0,
):
  arguments = dict(locals())
  return sdpo_surrogate(frozen_logprobs=logprobs, **arguments)


def sdpo_token_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  teacher_logprobs,
  has_teacher,
  completion_mask,
  max_ratio=2.0,
):
  losses = np.zeros(np.shape(completion_mask))
  for cell in _taught(has_teacher, completion_mask):
    ratio = math.exp(frozen_logprobs[cell] - old_logprobs[cell])
    gap = frozen_logprobs[cell] - teacher_logprobs[cell]
    losses[cell] = min(ratio, max_ratio) * gap * logprobs[cell]
  return losses


def sdpo_token(
  *,
  logprobs,
  old_logprobs,
  teacher_logprobs,
  has_teacher,
  completion_mask,
  max_ratio=2.0,
):
  arguments = dict(locals())
  return sdpo_token_surrogate(frozen_logprobs=logprobs, **arguments)


def opsd(
  *,
  support_logprobs,
  teacher_support_logprobs,
  has_teacher,
  completion_mask,
  beta=0.5,
):
  losses = np.zeros(np.shape(completion_mask))
  for cell in _taught(has_teacher, completion_mask):
    views = _views(support_logprobs, teacher_support_logprobs, cell)
    losses[cell] = _mixed_kl(*views, beta)
  return losses


def sdft(
  *,
  support_logprobs,
  teacher_support_logprobs,
  has_teacher,
  completion_mask,
  direction="teacher_student",
):
  losses = np.zeros(np.shape(completion_mask))
  for cell in _taught(has_teacher, completion_mask):
    student, teacher = _views(support_logprobs, teacher_support_logprobs, cell)
    if direction == "teacher_student":
      losses[cell] = _kl(teacher, student)
    else:
      losses[cell] = _kl(student, teacher)
  return losses


def srpo_surrogate(
  *,
  logprobs,
  frozen_logprobs,
  old_logprobs,
  token_advantages,
  support_logprobs,
  teacher_support_logprobs,
  srpo_weights,
  is_correct,
  has_teacher,
  completion_mask,
  alpha=0.5,
  tail=True,
  max_ratio=2.0,
  clip_low=0.2,
  clip_high=0.28,
  dual_clip=0.0,
):
  """Routed row by row."""
  surrogate = ppo_clip(
    logprobs=logprobs,
    old_logprobs=old_logprobs,
    token_advantages=token_advantages,
    clip_low=clip_low,
    clip_high=clip_high,
    dual_clip=dual_clip,
  )
  distilled = sdpo_surrogate(
    support_logprobs=support_logprobs,
    teacher_support_logprobs=teacher_support_logprobs,
    logprobs=logprobs,
    frozen_logprobs=frozen_logprobs,
    old_logprobs=old_logprobs,
    has_teacher=has_teacher,
    completion_mask=completion_mask,
    alpha=alpha,
    tail=tail,
    max_ratio=max_ratio,
  )
  losses = np.zeros(np.shape(completion_mask))
  for row, token in _cells(completion_mask):
    if not completion_mask[row, token]:
      continue
    if has_teacher[row] and not is_correct[row]:
      weight = srpo_weights[row, token]
      losses[row, token] = weight * distilled[row, token]
    else:
      losses[row, token] = surrogate[row, token]
  return losses


def srpo(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  support_logprobs,
  teacher_support_logprobs,
  srpo_weights,
  is_correct,
  has_teacher,
  completion_mask,
  alpha=0.5,
  tail=True,
  max_ratio=2.0,
  clip_low=0.2,
  clip_high=0.28,
  dual_clip=0.0,
):
  arguments = dict(locals())
  return srpo_surrogate(frozen_logprobs=logprobs, **arguments)


def truncated_importance(*, old_logprobs, sampler_logprobs, cap=2.0):
  """No other denominator of the ratio, and a factor of the loss."""
  weights = np.zeros(np.shape(old_logprobs))
  for cell in _cells(old_logprobs):
    trainer = math.exp(old_logprobs[cell])
    weights[cell] = min(trainer / math.exp(sampler_logprobs[cell]), cap)
  return None, weights


def token_mean(*, token_losses, loss_mask, completion_mask, over_kept=False):
  """Sum and count."""
  total = count = 0.0
  for cell in _cells(token_losses):
    if loss_mask[cell]:
      total += token_losses[cell]
    if loss_mask[cell] if over_kept else completion_mask[cell]:
      count += 1
  return total, count


def sequence_mean(*, token_losses, loss_mask, completion_mask, over_kept=False):
  """Sum and count."""
  total = count = 0.0
  for row in range(len(token_losses)):
    tokens = range(len(token_losses[row]))
    kept = [t for t in tokens if loss_mask[row, t]]
    counted = (
      kept if over_kept else [t for t in tokens if completion_mask[row, t]]
    )
    if counted:
      total += sum(token_losses[row, t] for t in kept) / len(counted)
      count += 1
  return total, count


def fixed_length(*, token_losses, loss_mask, completion_mask, length=0):
  """Sum and count."""
  total = count = 0.0
  for row in range(len(token_losses)):
    for t in range(len(token_losses[row])):
      if loss_mask[row, t]:
        total += token_losses[row, t]
    if any(completion_mask[row]):
      count += length if length else len(token_losses[row])
  return total, count
