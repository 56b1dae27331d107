"""Distillation by loops over tokens and candidates, in float64."""

import math

import numpy as np

from tests.reference import grid
from tests.reference import surrogates
from tests.reference.losses import clipped


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
    for row, token in grid.every(completion_mask)
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


sdpo = surrogates.at_itself(sdpo_surrogate)


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


sdpo_token = surrogates.at_itself(sdpo_token_surrogate)


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
  surrogate = clipped.ppo_clip(
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
  for row, token in grid.every(completion_mask):
    if not completion_mask[row, token]:
      continue
    if has_teacher[row] and not is_correct[row]:
      weight = srpo_weights[row, token]
      losses[row, token] = weight * distilled[row, token]
    else:
      losses[row, token] = surrogate[row, token]
  return losses


srpo = surrogates.at_itself(srpo_surrogate)
