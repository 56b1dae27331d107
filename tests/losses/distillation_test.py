"""Distillation losses: exact values, and settings that cannot be."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import losses
from tests import marks
from tests import testing
from tests.losses import two_views

_NAN, _INF = float("nan"), float("inf")
_close = two_views.close
_floats = testing.floats
_opsd = two_views.opsd
_rows = two_views.rows
_sdft = two_views.sdft
_STUDENT = two_views.STUDENT
_views = two_views.views


def _sdpo(views, ratio=1.0, transform=lambda f: f, **settings):
  shape = views["support_logprobs"].shape[:2]
  logprobs = jnp.full(shape, -2.0)
  return transform(functools.partial(losses.sdpo, **settings))(
    logprobs=logprobs,
    old_logprobs=logprobs - math.log(ratio),
    **views,
    **_rows(shape),
  )


# -------------------------------------------------------------------- values


@marks.with_and_without_jit
@pytest.mark.parametrize(
  "alpha, expected",
  [
    # 0.2 ln(0.2 / 0.5) + 0.5 ln(0.5 / 0.3) + 0.3 ln(0.3 / 0.2).
    (0.0, 0.193794),
    (1.0, 0.223805),
    (0.5, 0.050875),
  ],
)
def test_divergences_over_candidates_and_tail(transform, alpha, expected):
  _close(_sdpo(_views(), alpha=alpha, transform=transform), [[expected]])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_tail_is_a_candidate_like_others(alpha):
  three = _views(np.log([0.5, 0.3, 0.2]), np.log([0.2, 0.5, 0.3]))
  _close(_sdpo(_views(), alpha=alpha), _opsd(three, alpha))
  # Without a tail the two candidates are all there is: 5/8 and 2/7.
  two = _views(np.log([5 / 8, 3 / 8]), np.log([2 / 7, 5 / 7]))
  _close(_sdpo(_views(), alpha=alpha, tail=False), _opsd(two, alpha))


def test_between_the_ends_the_mixture_leans_to_the_teacher_by_alpha():
  # alpha = 1/4 of (1/2, 1/2) and (1, 0): M = (5/8, 3/8).
  student, sure = np.log([0.5, 0.5]), [0.0, -_INF]
  expected = 0.75 * (0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3))
  expected += 0.25 * math.log(8 / 5)
  _close(_opsd(_views(student, sure), 0.25), [[expected]])


def test_each_direction_on_the_whole_vocabulary():
  # P_S = (.5, .5), P_T = (.9, .1): 0.5 ln(5 / 9) + 0.5 ln 5.
  views = _views(np.log([0.5, 0.5]), np.log([0.9, 0.1]))
  _close(_sdft(views, direction="student_teacher"), [[0.510826]])
  # 0.9 ln 1.8 + 0.1 ln 0.2.
  reverse = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
  _close(_sdft(views), [[reverse]])


@pytest.mark.parametrize("seed", range(3))
def test_sdft_is_an_end_of_opsd(seed):
  keys = jax.random.split(jax.random.key(seed))
  views = _views(
    *(jax.nn.log_softmax(jax.random.normal(k, (2, 3, 5))) for k in keys)
  )
  for beta, direction in ((0.0, "teacher_student"), (1.0, "student_teacher")):
    found = _sdft(views, direction=direction)
    np.testing.assert_array_equal(found, _opsd(views, beta))


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_sdpo_over_the_whole_vocabulary_is_opsd(alpha, tail):
  keys = jax.random.split(jax.random.key(3))
  student, teacher = (jax.random.normal(k, (2, 3, 5)) for k in keys)

  def total(logits, method):
    views = _views(jax.nn.log_softmax(logits), jax.nn.log_softmax(teacher))
    return jnp.sum(method(views))

  by = lambda method: jax.value_and_grad(total)(student, method)
  found = by(lambda views: _sdpo(views, alpha=alpha, tail=tail))
  expected = by(lambda views: _opsd(views, alpha))
  jax.tree.map(functools.partial(_close, atol=1e-6), found, expected)


@marks.with_and_without_jit
@pytest.mark.parametrize(
  "ratio, weight", [(1.5, 1.5), (0.25, 0.25), (3.0, 2.0), (1e30, 2.0)]
)
def test_the_importance_weight_is_capped_from_above(transform, ratio, weight):
  found = _sdpo(_views(), ratio=ratio, transform=transform)
  _close(found, [[0.050875 * weight]])


def _sdpo_token(logprobs, teacher, old=None, **settings):
  logprobs = _floats(logprobs)
  return losses.sdpo_token(
    logprobs=logprobs,
    old_logprobs=logprobs if old is None else _floats(old),
    teacher_logprobs=_floats(teacher),
    **_rows(logprobs.shape),
    **settings,
  )


@marks.with_and_without_jit
def test_the_sampled_token_alone(transform):
  # (-1 + 2) * -1, and the slope is the frozen log-ratio alone.
  value, gradient = transform(
    jax.value_and_grad(lambda x: jnp.sum(_sdpo_token(x, [[-2.0]], [[-1.0]])))
  )(_floats([[-1.0]]))
  _close(value, -1.0)
  _close(gradient, [[1.0]])
  # Ratio e, capped at 2.
  _close(_sdpo_token([[-1.0]], [[-2.0]], [[-2.0]]), [[-2.0]])
  _close(_sdpo_token([[-1.0]], [[-2.0]], [[-2.0]], max_ratio=9.0), [[-math.e]])


def test_on_the_students_samples_it_has_the_gradient_of_the_divergence():
  # E_S[sg(log S - log T) grad log S] = grad KL(S || T).
  teacher = jnp.log(_floats([0.9, 0.06, 0.04]))
  logits = _floats([0.3, -0.2, 0.1])

  def sampled(logits):
    logprobs = jax.nn.log_softmax(logits)[None]
    loss = _sdpo_token(logprobs, teacher[None])
    return jnp.sum(jax.lax.stop_gradient(jnp.exp(logprobs)) * loss)

  def exact(logits):
    views = _views(jax.nn.log_softmax(logits), teacher)
    return jnp.sum(_sdft(views, direction="student_teacher"))

  _close(jax.grad(sampled)(logits), jax.grad(exact)(logits), atol=1e-6)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
  "call, message",
  [
    (
      lambda: _sdpo(_views(), alpha=1.5),
      "alpha is 1.5: it is a share in [0, 1]",
    ),
    (lambda: _sdpo(_views(), max_ratio=0.0), "max_ratio is 0.0: set it above"),
    (
      lambda: _sdpo_token([[-1.0]], [[-1.0]], max_ratio=-1.0),
      "max_ratio is -1.0: set it above 0",
    ),
    (lambda: _opsd(_views(), -0.1), "beta is -0.1: it is a share in [0, 1]"),
    (
      lambda: _sdft(_views(), direction="teacher-student"),
      "direction is 'teacher-student': did you mean 'teacher_student'?",
    ),
    (
      lambda: _opsd(_views(_STUDENT, np.log([0.2, 0.3, 0.5]))),
      "teacher_support_logprobs has shape (1, 1, 3), but support_logprobs has"
      " K = 2: give both the same number of candidates",
    ),
    (
      lambda: _opsd(_views(_STUDENT, [0.2, 0.5])),
      "teacher_support_logprobs[0, 0, 0] is 0.2",
    ),
    (
      lambda: _opsd(_views(_STUDENT, [_NAN, 0.0])),
      "teacher_support_logprobs[0, 0, 0] is nan: mask the cell out",
    ),
  ],
)
def test_what_cannot_be_right_is_refused(call, message):
  with pytest.raises(errors.UserError) as caught:
    call()
  assert str(caught.value).startswith(message)
