"""Derived fields by loops, in float64 and whole numbers."""

from fractions import Fraction
import math

import numpy as np

from tests.reference import grid


def _covariances(logprobs, token_advantages, completion_mask):
  cells = grid.inside(completion_mask)
  mean = lambda x: math.fsum(float(x[cell]) for cell in cells) / len(cells)
  mean_credit, mean_logprob = mean(token_advantages), mean(logprobs)
  return {
    cell: (token_advantages[cell] - mean_credit)
    * (logprobs[cell] - mean_logprob)
    for cell in cells
  }


def _chosen(scores, shape, budget):
  """1 on the highest scores; ties go to the earlier token."""
  mask = np.zeros(shape)
  for cell in sorted(sorted(scores), key=lambda c: -scores[c])[:budget]:
    mask[cell] = 1.0
  return mask


def clip_cov_tokens(
  *,
  logprobs,
  old_logprobs,
  token_advantages,
  completion_mask,
  token_uniforms,
  select_frac=2e-4,
  cov_low=1.0,
  cov_high=5.0,
  clip_low=0.2,
  clip_high=0.2,
):
  covariances = _covariances(logprobs, token_advantages, completion_mask)
  eligible = {}
  for cell, covariance in covariances.items():
    ratio = math.exp(logprobs[cell] - old_logprobs[cell])
    credit = token_advantages[cell]
    # The clip binds where it takes the gradient away.
    bound = (credit > 0 and ratio > 1 + clip_high) or (
      credit < 0 and ratio < 1 - clip_low
    )
    if cov_low < covariance < cov_high and not bound:
      eligible[cell] = token_uniforms[cell]
  budget = max(1, math.floor(Fraction(str(select_frac)) * len(covariances)))
  return _chosen(eligible, np.shape(logprobs), budget)


def kl_cov_tokens(
  *, logprobs, token_advantages, completion_mask, select_frac=2e-3
):
  covariances = _covariances(logprobs, token_advantages, completion_mask)
  budget = max(1, math.floor(Fraction(str(select_frac)) * len(covariances)))
  if select_frac == 0:
    budget = 0
  return _chosen(covariances, np.shape(logprobs), budget)


def segment_ids(*, completion_tokens, completion_mask, separator_ids=()):
  found = np.full(np.shape(completion_tokens), -1)
  for row, token in grid.inside(completion_mask):
    before = [int(other) for other in completion_tokens[row][:token]]
    found[row, token] = sum(other in separator_ids for other in before)
  return found


def planning_tokens(*, completion_tokens, completion_mask, phrases=()):
  found = np.zeros(np.shape(completion_tokens))
  inside = set(grid.inside(completion_mask))
  for row in range(len(completion_tokens)):
    for phrase in phrases:
      for start in range(len(completion_tokens[row])):
        window = [(row, start + offset) for offset in range(len(phrase))]
        if all(
          cell in inside and completion_tokens[cell] == token
          for cell, token in zip(window, phrase, strict=True)
        ):
          for cell in window:
            found[cell] = 1.0
  return found


def zero_log_partition(*, valid):
  return np.array([0.0 for _ in valid])


def noise_log_partition(*, prompt_normals, mean=0.5, std=1.0):
  """Draws of N(mean, std^2)."""
  return np.array([mean + std * float(number) for number in prompt_normals])


def zero_anchor(*, completion_mask):
  """log 1: every text has the same weight."""
  return np.full(np.shape(completion_mask), math.log(1.0))


def d_hat(*, student_logprobs, teacher_logprobs, has_teacher, completion_mask):
  """log P_S(y_t) - log P_T(y_t) of the sampled tokens."""
  found = np.zeros(np.shape(completion_mask))
  for row, token in grid.inside(completion_mask):
    if has_teacher[row]:
      student = float(student_logprobs[row, token])
      found[row, token] = student - float(teacher_logprobs[row, token])
  return found


def srpo_weights(
  *,
  teacher_entropies,
  is_correct,
  has_teacher,
  completion_mask,
  temperature=1.0,
):
  sure = {
    (row, token): math.exp(-teacher_entropies[row, token] / temperature)
    for row, token in grid.inside(completion_mask)
    if has_teacher[row] and not is_correct[row]
  }
  found = np.zeros(np.shape(completion_mask))
  for cell, value in sure.items():
    found[cell] = value * len(sure) / math.fsum(sure.values())
  return found
