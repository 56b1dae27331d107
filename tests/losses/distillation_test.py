"""Distillation losses: exact values, gradients, junk, routes, reductions."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import derived
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib

_bound = objective_lib.bound
_NAN, _INF = float("nan"), float("inf")
_with_and_without_jit = pytest.mark.parametrize(
  "transform", [jax.jit, lambda function: function], ids=["jit", "eager"]
)
_close = functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=0)
# Two candidates of each view; the tails hold 0.2 and 0.3.
_STUDENT, _TEACHER = np.log([0.5, 0.3]), np.log([0.2, 0.5])


def _floats(values):
  return jnp.asarray(values, jnp.float32)


def _views(student=_STUDENT, teacher=_TEACHER):
  """One token of one row, unless the views hold more."""
  wide = lambda x: jnp.atleast_3d(_floats(x)[None, None]).reshape(
    *(1,) * (3 - np.ndim(x)), *np.shape(x)
  )
  return dict(
    support_logprobs=wide(student), teacher_support_logprobs=wide(teacher)
  )


def _rows(shape):
  return dict(has_teacher=jnp.ones(shape[0]), completion_mask=jnp.ones(shape))


def _sdpo(views, ratio=1.0, transform=lambda f: f, **settings):
  shape = views["support_logprobs"].shape[:2]
  logprobs = jnp.full(shape, -2.0)
  return transform(functools.partial(losses.sdpo, **settings))(
    logprobs=logprobs,
    old_logprobs=logprobs - math.log(ratio),
    **views,
    **_rows(shape),
  )


def _opsd(views, beta=0.5):
  shape = views["support_logprobs"].shape[:2]
  return losses.opsd(beta=beta, **views, **_rows(shape))


def _sdft(views, **settings):
  shape = views["support_logprobs"].shape[:2]
  return losses.sdft(**views, **_rows(shape), **settings)


# -------------------------------------------------------------------- values


@_with_and_without_jit
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


@_with_and_without_jit
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


@_with_and_without_jit
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


# ------------------------------------------------------------------ gradients


def test_the_gradient_with_respect_to_the_logits_is_known():
  # KL(T || S) has the slope S - T in the student's logits.
  teacher = jnp.log(_floats([0.7, 0.2, 0.1]))
  logits = _floats([0.3, -0.2, 0.1])
  total = lambda x: jnp.sum(_sdft(_views(jax.nn.log_softmax(x), teacher)))
  _close(
    jax.grad(total)(logits),
    jax.nn.softmax(logits) - jnp.exp(teacher),
    atol=1e-6,
  )


_LOSSES = {
  "sdpo": _bound(losses.sdpo),
  "sdpo without tail": _bound(losses.sdpo, tail=False),
  "sdpo forward": _bound(losses.sdpo, alpha=0.0),
  "sdpo reverse": _bound(losses.sdpo, alpha=1.0),
  "sdpo_token": _bound(losses.sdpo_token),
  "opsd": _bound(losses.opsd),
  "opsd forward": _bound(losses.opsd, beta=0.0),
  "sdft": _bound(losses.sdft),
  "sdft reverse": _bound(losses.sdft, direction="student_teacher"),
  "srpo": _bound(losses.srpo),
}
_each_loss = pytest.mark.parametrize("name", _LOSSES)
_STUDENTS = ("logprobs", "support_logprobs")
_TEACHERS = ("teacher_logprobs", "teacher_support_logprobs")


def _batch():
  """Three rows: wrong, without a teacher, and right."""
  shape = (3, 2)
  keys = iter(jax.random.split(jax.random.key(7), 8))
  support = lambda: jnp.log(
    jax.random.dirichlet(next(keys), jnp.ones(4), shape)[..., :3]
  )
  draw = lambda: -jax.random.exponential(next(keys), shape)
  return {
    "logprobs": draw(),
    "old_logprobs": draw(),
    "teacher_logprobs": draw(),
    "token_advantages": _floats([[-0.5] * 2, [-0.5] * 2, [1.0] * 2]),
    "support_logprobs": support(),
    "teacher_support_logprobs": support(),
    "srpo_weights": _floats([[1.2, 0.8], [1.0, 1.0], [1.0, 1.0]]),
    "is_correct": _floats([0.0, 0.0, 1.0]),
    "has_teacher": _floats([1.0, 0.0, 1.0]),
    "completion_mask": _floats([[1, 1], [1, 1], [1, 0]]),
  }


def _value_and_gradients(name, batch, names):
  total = lambda views: jnp.sum(_LOSSES[name](batch | views))
  return jax.jit(jax.value_and_grad(total))({k: batch[k] for k in names})


@_each_loss
def test_the_teacher_gets_no_gradient(name):
  _, gradients = _value_and_gradients(name, _batch(), _TEACHERS)
  for gradient in gradients.values():
    np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


@_each_loss
def test_a_student_at_its_teacher_rests(name):
  batch = _batch()
  batch |= {
    "teacher_logprobs": batch["logprobs"],
    "is_correct": jnp.zeros(3),
    "has_teacher": jnp.ones(3),
  }

  whole = name.startswith(("opsd", "sdft"))

  def total(logits):
    # Through logits: the probabilities of all tokens cannot grow at once.
    support = jax.nn.log_softmax(logits)[..., : 4 if whole else 3]
    teacher = jax.lax.stop_gradient(support)
    views = dict(support_logprobs=support, teacher_support_logprobs=teacher)
    return jnp.sum(_LOSSES[name](batch | views))

  logits = jax.random.normal(jax.random.key(8), (3, 2, 4))
  value, gradient = jax.value_and_grad(total)(logits)
  _close(value, 0.0, atol=1e-6)
  _close(gradient, jnp.zeros_like(logits), atol=1e-6)


@_each_loss
@pytest.mark.parametrize("junk", [_NAN, -_INF])
def test_junk_of_absent_teachers_and_of_padding_reaches_nothing(name, junk):
  batch = _batch()
  absent = jnp.zeros((3, 2), bool).at[1].set(True)
  padded = jnp.zeros((3, 2), bool).at[2, 1].set(True)

  def spoil(names, cells):
    wide = lambda x: cells.reshape(3, 2, *(1,) * (x.ndim - 2))
    return {k: jnp.where(wide(batch[k]), junk, batch[k]) for k in names}

  dirty = batch | spoil(_TEACHERS, absent | padded)
  dirty |= spoil(
    (*_STUDENTS, "old_logprobs", "token_advantages", "srpo_weights"), padded
  )
  clean = _value_and_gradients(name, batch, _STUDENTS)
  found = _value_and_gradients(name, dirty, _STUDENTS)
  jax.tree.map(np.testing.assert_array_equal, found, clean)
  # Eager calls are checked and accept it, too.
  values = _LOSSES[name](dirty)
  assert jnp.all(jnp.isfinite(values))
  assert values[2, 1] == 0.0
  if name != "srpo":
    np.testing.assert_array_equal(values[1], jnp.zeros(2))
    for gradient in found[1].values():
      np.testing.assert_array_equal(gradient[1], jnp.zeros_like(gradient[1]))
  # There was something to spoil.
  assert max(jnp.max(jnp.abs(g)) for g in found[1].values()) > 1e-2


@pytest.mark.parametrize("name", [n for n in _LOSSES if n != "sdpo_token"])
@pytest.mark.parametrize("who", ["both", "student", "teacher"])
def test_candidates_that_are_never_given_make_no_nan(name, who):
  batch = _batch()
  names = {
    "both": ("support_logprobs", "teacher_support_logprobs"),
    "student": ("support_logprobs",),
    "teacher": ("teacher_support_logprobs",),
  }[who]
  never = batch | {k: batch[k].at[..., 0].set(-_INF) for k in names}
  value, gradients = _value_and_gradients(name, never, _STUDENTS)
  assert jnp.isfinite(value)
  for gradient in gradients.values():
    assert jnp.all(jnp.isfinite(gradient))
  assert jnp.all(jnp.isfinite(_LOSSES[name](never)))
  if who == "both":
    # They contribute nothing: the batch without them is the same.
    fewer = batch | {k: batch[k][..., 1:] for k in names}
    _close(value, _value_and_gradients(name, fewer, _STUDENTS)[0])


@pytest.mark.parametrize("name", [n for n in _LOSSES if n != "sdpo_token"])
def test_two_certain_views_agree(name):
  sure = jnp.broadcast_to(_floats([0.0, -_INF, -_INF]), (3, 2, 3))
  batch = _batch() | {
    "support_logprobs": sure,
    "teacher_support_logprobs": sure,
    "is_correct": jnp.zeros(3),
    "has_teacher": jnp.ones(3),
  }
  value, gradients = _value_and_gradients(name, batch, _STUDENTS)
  _close(value, 0.0)
  assert all(bool(jnp.all(jnp.isfinite(g))) for g in gradients.values())


def test_certain_views_that_differ_are_far_apart_and_not_infinitely():
  views = _views([0.0, -_INF], [-_INF, 0.0])
  # Jensen-Shannon is bounded by ln 2.
  _close(_opsd(views), [[math.log(2.0)]])
  np.testing.assert_allclose(_sdft(views), [[1e4]], rtol=1e-6)


# ----------------------------------------------------------------------- SRPO


@_with_and_without_jit
def test_rows_take_their_routes(transform):
  batch = _batch()
  found = transform(_LOSSES["srpo"])(batch)
  surrogate = _bound(losses.ppo_clip, clip_high=0.28)(batch)
  distilled = _LOSSES["sdpo"](batch)
  _close(found[0], batch["srpo_weights"][0] * distilled[0])
  # Wrong without a teacher, and right.
  _close(found[1], surrogate[1])
  _close(found[2], [surrogate[2, 0], 0.0])


@pytest.mark.parametrize(
  "ratio, credit, expected",
  [
    # min(3, 1.28 * 2); max of 0.5 and the floor 0.8; at most 3.
    (1.5, 2.0, -2.56),
    (0.5, -1.0, 0.8),
    (5.0, -1.0, 3.0),
  ],
)
def test_right_rows_have_the_dual_clipped_surrogate(ratio, credit, expected):
  one = lambda x: jnp.full((1, 1), x, jnp.float32)
  arrays = dict(
    logprobs=one(-2.0 + math.log(ratio)),
    old_logprobs=one(-2.0),
    token_advantages=one(credit),
  )
  settings = dict(clip_high=0.28, dual_clip=3.0)
  batch = arrays | _views() | _rows((1, 1))
  batch |= dict(is_correct=jnp.ones(1), srpo_weights=one(1.0))
  _close(_bound(losses.srpo, **settings)(batch), [[expected]])
  _close(losses.ppo_clip(**arrays, **settings), [[expected]])


def test_both_kinds_of_rows_share_one_denominator():
  # Surrogates -2 and -4 and a distillation loss of 3: (-2 - 4 + 3) / 3.
  shape = (3, 1)
  zeros = jnp.zeros(shape)
  views = _views(
    np.broadcast_to(_STUDENT, (3, 1, 2)), np.broadcast_to(_TEACHER, (3, 1, 2))
  )
  batch = views | dict(
    logprobs=zeros - 1.0,
    old_logprobs=zeros - 1.0,
    token_advantages=_floats([[2.0], [4.0], [-1.0]]),
    srpo_weights=_floats([[0.0], [0.0], [3.0 / 0.050875]]),
    is_correct=_floats([1.0, 1.0, 0.0]),
    has_teacher=jnp.ones(3),
    completion_mask=jnp.ones(shape),
  )
  found = _LOSSES["srpo"](batch)
  _close(found, [[-2.0], [-4.0], [3.0]], atol=1e-4)
  mean = losses.token_mean(
    token_losses=found,
    loss_mask=batch["completion_mask"],
    completion_mask=batch["completion_mask"],
  )
  _close(mean.value(), -1.0, atol=1e-4)


def test_its_weights_come_from_the_batch():
  # Teacher entropies 0 and ln 2 of the wrong row: 4/3 and 2/3.
  batch = _batch()
  entropies = _floats([[0.0, math.log(2.0)], [9.0, 9.0], [9.0, 9.0]])
  weights = _bound(derived.srpo_weights)(
    batch | {"teacher_entropies": entropies}
  )
  found = _LOSSES["srpo"](batch | {"srpo_weights": weights})
  distilled = _LOSSES["sdpo"](batch)
  _close(found[0], distilled[0] * np.array([4 / 3, 2 / 3]))


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
