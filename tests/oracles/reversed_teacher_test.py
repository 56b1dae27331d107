"""What a teacher does to the exact gradient of GRPO, path by path.

Four answers of one token. The policy gives them p = (.5, .1, .3, .1), the
teacher q = (.8, .02, .1, .08); the first two are right, so that P = .6 of the
samples are: one path that the teacher likes and one that it does not. The
teacher has seen a right sibling, so a row has one if another row of its group
is right.

In groups of three a row with j right companions has, with Bessel's correction
and c = 1 / sqrt(3) (less epsilon: c = (1 / 3) / (1 / sqrt(3) + epsilon)), the
advantage

            j = 0    1      2
  right      2c      c      0
  wrong       0     -c    -2c

A right row has a teacher and credit only for j = 1, which happens with
probability 2 P (1 - P). A wrong row has both for j = 1 and 2. So the expected
credit that a teacher can shape is

  W+ = 2 P (1 - P) c  a right row,
  W- = -(2 P (1 - P) c + P^2 2c) = -2 P c  a wrong one.

A weight 1 + lambda d_y on answer y then moves the logits, beside GRPO, by

  G = lambda sum_y p_y W_y d_y (e_y - p),

and log p_a by G_a - p . G. RLRT: W_y = W+ on right answers, 0 on wrong ones;
d = clip(p / q, 0, 2) - 1 = (-.375, 1), eps_w = 1. RLSD: W_y = W- on wrong
ones; d = clip(q / p, 0, 2) - 1 = (.6, -.8) and, where A < 0, clip(p / q, 0, 2)
- 1 = (1, .25).
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from tests.oracles import enumeration

_bound = objective_lib.bound
_SPACE = enumeration.space(vocab_size=4, length=1)
_POLICY = np.array([0.5, 0.1, 0.3, 0.1])
_TEACHER = np.array([0.8, 0.02, 0.1, 0.08])
_RIGHT = np.array([1.0, 1.0, 0.0, 0.0])
_LIKED, _OWN = 0, 1
_MIX = 0.5
_C = (1 / 3) / (1 / math.sqrt(3) + 1e-6)
_P = 0.6
_W_RIGHT, _W_WRONG = 2 * _P * (1 - _P) * _C, -2 * _P * _C
_RLRT = np.array([-0.375, 1.0, 0.0, 0.0]) * _W_RIGHT
_RLSD = np.array([0.6 * _W_RIGHT, -0.8 * _W_RIGHT, _W_WRONG, 0.25 * _W_WRONG])
_LONG = enumeration.space(vocab_size=2, length=2)


def has_teacher(*, is_correct, group_ids):
  """1 on rows with a right sibling."""
  same = (group_ids[:, None] == group_ids[None]).astype(is_correct.dtype)
  right = jnp.sum(same * is_correct[None], axis=1) - is_correct
  return (right > 0).astype(is_correct.dtype)


def teacher_mix(*, valid):
  return jnp.full((), _MIX, valid.dtype)


def teacher_clip(*, valid):
  return jnp.full((), 1.0, valid.dtype)


def _method(*weights):
  """GRPO by the row, under a teacher; numbers of the type of the batch."""
  return objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_loss=_bound(losses.ppo_clip),
    aggregate=_bound(losses.fixed_length, length=1),
    token_weights=weights,
    derived=(
      _bound(has_teacher),
      _bound(derived.d_hat, student_logprobs="old_logprobs"),
      _bound(teacher_mix),
      _bound(teacher_clip),
    ),
  )


_METHODS = {
  "rlrt": _method(_bound(token_weights.reversed_teacher)),
  "rlsd": _method(_bound(token_weights.rlsd)),
}


def _gradient(method, policy, teacher, over, rewards, samples):
  return enumeration.expected_gradient(
    method,
    lambda table: enumeration.fields(
      table,
      over,
      rewards,
      teacher_logprobs=enumeration.logprobs(teacher, over),
    ),
    policy,
    enumeration.draws([enumeration.probabilities(policy, over)], samples),
  )


def _moved(method, precision, samples=3):
  """What a method's expected gradient adds to that of GRPO, [V]."""
  tables = (precision.array(np.log(p)[None]) for p in (_POLICY, _TEACHER))
  arguments = (*tables, _SPACE, _RIGHT, samples)
  return np.asarray(
    _gradient(method, *arguments)[0] - _gradient(_method(), *arguments)[0]
  )


@pytest.mark.parametrize("name, credit", [("rlrt", _RLRT), ("rlsd", _RLSD)])
def test_the_gradient_beside_that_of_grpo_is_the_formula(
  precision, name, credit
):
  # G = lambda (p W d - p sum(p W d)).
  each = _POLICY * credit
  exact = _MIX * (each - _POLICY * each.sum())
  enumeration.assert_equal(_moved(_METHODS[name], precision), exact, precision)


def _gain(gradient, answer):
  """What a gradient on the logits does to the log-probability of an answer."""
  return float(gradient[answer] - _POLICY @ gradient)


def test_rlrt_raises_the_path_of_its_own_and_rlsd_lowers_it(precision):
  # RLRT: sum_y p_y d_y = -.1875 + .1 = -.0875, so that G / (lambda W+) =
  # (-.1875, .1, 0, 0) + .0875 p = (-.14375, .10875, .02625, .00875). Less
  # p . that = -.05225, the path of its own gains .161, the other -.0915.
  found = _moved(_METHODS["rlrt"], precision)
  for answer, gain in ((_OWN, 0.161), (_LIKED, -0.0915)):
    exact = _MIX * _W_RIGHT * gain
    assert _gain(found, answer) == pytest.approx(
      exact, rel=10 * precision.tolerance
    )
  assert _gain(found, _OWN) == pytest.approx(0.022309, abs=1e-6)
  # RLSD: in units of c, W+ = .48, W- = -1.2 and p W d = (.144, -.0384, -.36,
  # -.03), whose sum is -.2844. G / (lambda c) = (.2862, -.00996, -.27468,
  # -.00156); less p . that = .059544 it is -.069504 for the path of its own.
  found = _moved(_METHODS["rlsd"], precision)
  for answer, gain in ((_OWN, -0.069504), (_LIKED, 0.226656)):
    assert _gain(found, answer) == pytest.approx(
      _MIX * _C * gain, rel=10 * precision.tolerance
    )
  assert _gain(found, _OWN) < 0 < _gain(found, _LIKED)


def test_in_groups_of_two_rlrt_is_grpo(precision):
  # A right row with a right sibling is one of two alike: it has no credit.
  found = _moved(_METHODS["rlrt"], precision, samples=2)
  np.testing.assert_array_equal(found, np.zeros(4))


@pytest.mark.parametrize("samples", [3, 4])
def test_paths_of_several_tokens_are_weighed_token_by_token(precision, samples):
  # Two tokens of two. A right path y has the expected credit W that is above
  # for three samples and follows from counts for any number; its token t
  # adds lambda d_{y,t} W p(y) grad log p(y_t | y_<t).
  rewards = np.array([0.0, 1.0, 1.0, 0.0])
  policy, teacher = (
    enumeration.random_table(seed, _LONG, 2) for seed in (0, 1)
  )
  arguments = (*map(precision.array, (policy, teacher)), _LONG, rewards)
  rlrt, grpo = (
    _gradient(method, *arguments, samples)
    for method in (_METHODS["rlrt"], _method())
  )
  softmax = lambda table: np.exp(table) / np.exp(table).sum(1, keepdims=True)
  ours, theirs = softmax(policy), softmax(teacher)
  chances = [
    math.prod(ours[n, v] for n, v in zip(ns, vs, strict=True))
    for ns, vs in zip(_LONG.prefixes, _LONG.tokens, strict=True)
  ]
  success = float(np.dot(chances, rewards))
  credit = 0.0
  for others in range(1, samples):
    right = others + 1
    deviation = math.sqrt(right * (samples - right) / (samples * (samples - 1)))
    chance = math.comb(samples - 1, others) * success**others
    chance *= (1 - success) ** (samples - 1 - others)
    credit += chance * (1 - right / samples) / (deviation + 1e-6)
  exact = np.zeros_like(policy)
  for path in np.flatnonzero(rewards):
    for prefix, token in zip(
      _LONG.prefixes[path], _LONG.tokens[path], strict=True
    ):
      ratio = ours[prefix, token] / theirs[prefix, token]
      score = -ours[prefix]
      score[token] += 1.0
      exact[prefix] += _MIX * (min(ratio, 2.0) - 1.0) * chances[path] * score
  enumeration.assert_equal(rlrt - grpo, credit * exact, precision)
