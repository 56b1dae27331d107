"""RLRT and RLSD: exact weights, gates, bounds, junk, schedules."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import errors
from rlvr_jax import schedules
from rlvr_jax import token_weights
from rlvr_jax.token_weights import teacher
from tests import marks
from tests import testing

_NAN = float("nan")
_close = functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=0)
# Log-probabilities of two tokens: the first one is the student's own.
_STUDENT, _TEACHER = (-1.0, -3.0), (-2.0, -2.0)


def _shape(
  token_advantages,
  d_hat,
  *,
  correct=None,
  taught=None,
  mask=None,
  mix=0.5,
  clip=1.0,
  transform=lambda f: f,
  **settings,
):
  credits = testing.floats(token_advantages)
  ones = jnp.ones(credits.shape[0])
  method = functools.partial(token_weights.reversed_teacher, **settings)
  return transform(method)(
    token_advantages=credits,
    d_hat=testing.floats(d_hat),
    is_correct=ones if correct is None else testing.floats(correct),
    has_teacher=ones if taught is None else testing.floats(taught),
    completion_mask=jnp.ones_like(credits)
    if mask is None
    else testing.floats(mask),
    teacher_mix=testing.floats(mix),
    teacher_clip=testing.floats(clip),
  )


def _rlrt(token_advantages, d_hat, **keywords):
  """Credits after RLRT."""
  shape = _shape(token_advantages, d_hat, **keywords)
  assert shape.bonus == 0.0 and shape.mask == 1.0
  return testing.floats(token_advantages) * shape.weight


def _rlsd(token_advantages, d_hat, *, taught=None, mix=0.5, clip=1.0):
  credits = testing.floats(token_advantages)
  shape = token_weights.rlsd(
    token_advantages=credits,
    d_hat=testing.floats(d_hat),
    has_teacher=(
      jnp.ones(credits.shape[0]) if taught is None else testing.floats(taught)
    ),
    teacher_mix=testing.floats(mix),
    teacher_clip=testing.floats(clip),
  )
  assert shape.bonus == 0.0 and shape.mask == 1.0
  return credits * shape.weight


def _gaps(student, teacher):
  return [np.subtract(student, teacher)]


_D_HAT = _gaps(_STUDENT, _TEACHER)


# ------------------------------------------------------- through the advantage


def _group(rewards):
  return advantages.grpo_advantages(
    rewards=testing.floats(rewards),
    group_ids=jnp.zeros(len(rewards), jnp.int32),
    valid=jnp.ones(len(rewards)),
  )


@pytest.mark.parametrize(
  "rewards, expected",
  [
    ([1, 0, 0, 0], [1.5, -0.5, -0.5, -0.5]),
    ([1, 1, 0, 0], [0.866025, 0.866025, -0.866025, -0.866025]),
    ([1, 1, 1, 1], [0.0] * 4),
  ],
)
def test_a_group_on_its_way_to_token_credit(rewards, expected):
  values = _group(rewards)
  _close(values, expected)
  d_hat = np.tile(np.asarray(_D_HAT), (4, 1))
  credits = jnp.broadcast_to(values[:, None], (4, 2))
  found = _rlrt(credits, d_hat, correct=rewards)
  # Lambda 0.5 and eps 1: 1.5 and 0.5 + 0.5 / e on right rows.
  weights = np.where(
    np.asarray(rewards)[:, None] > 0, [[1.5, 0.683940]], [[1.0, 1.0]]
  )
  _close(found, np.asarray(expected)[:, None] * weights)
  if rewards == [1, 1, 1, 1]:
    # It modulates and makes no gradient of its own.
    np.testing.assert_array_equal(found, np.zeros((4, 2)))


# ---------------------------------------------------------------- RLRT, RLSD


@marks.with_and_without_jit
@pytest.mark.parametrize(
  "mix, clip, expected",
  [
    # 2 e and 2 / e.
    (1.0, 10.0, [5.436564, 0.735759]),
    # 2 (0.5 + 0.5 * 2) and 2 (0.5 + 0.5 / e).
    (0.5, 1.0, [3.0, 1.367879]),
    (0.5, 0.2, [2.2, 1.8]),
  ],
)
def test_right_rows_are_weighed_and_wrong_ones_are_not(
  transform, mix, clip, expected
):
  found = _rlrt(
    [[2.0, 2.0], [2.0, 2.0]],
    _D_HAT * 2,
    correct=[1.0, 0.0],
    mix=mix,
    clip=clip,
    transform=transform,
  )
  _close(found, [expected, [2.0, 2.0]])


def test_rlsd_turns_the_sign_around():
  _close(_rlsd([[2.0, 2.0]], _D_HAT, clip=0.2), [[1.8, 2.2]])


@pytest.mark.parametrize("mix, clip", [(1.0, 10.0), (0.5, 1.0), (0.3, 0.2)])
def test_rlrt_with_the_views_exchanged_is_rlsd(mix, clip):
  there, back = _gaps(_STUDENT, _TEACHER), _gaps(_TEACHER, _STUDENT)
  settings = dict(mix=mix, clip=clip)
  for credits in ([[2.0, 0.7]], [[-0.4, 1.0]], [[0.0, -3.0]]):
    np.testing.assert_array_equal(
      _rlrt(credits, there, gate="all", **settings),
      _rlsd(credits, back, **settings),
    )


@marks.with_and_without_jit
@pytest.mark.parametrize("mode", ["ratio", "sign"])
@pytest.mark.parametrize("normalize", ["none", "row_mean"])
@pytest.mark.parametrize(
  "changes",
  [
    dict(mix=0.0),
    dict(clip=0.0),
    dict(d_hat=[[0.0, 0.0]]),
    # No sibling, so no context: a right row as GRPO has it.
    dict(taught=[0.0]),
    dict(correct=[0.0]),
  ],
  ids=["lambda", "eps", "same", "no sibling", "wrong"],
)
def test_the_neutral_weight_is_exactly_one(transform, mode, normalize, changes):
  settings = dict(d_hat=_D_HAT, mix=0.3, clip=0.7) | changes
  shape = _shape(
    [[2.0, 2.0]],
    mode=mode,
    normalize=normalize,
    transform=transform,
    **settings,
  )
  np.testing.assert_array_equal(shape.weight, [[1.0, 1.0]])


@pytest.mark.parametrize(
  "clip, low, high", [(1.0, 0.5, 1.5), (0.5, 0.75, 1.25), (0.2, 0.9, 1.1)]
)
@pytest.mark.parametrize("mode", ["ratio", "sign"])
def test_weights_stay_within_their_bounds(clip, low, high, mode):
  d_hat = jax.random.normal(jax.random.key(0), (20, 50)) * 10.0
  credits = jax.random.normal(jax.random.key(1), d_hat.shape)
  shape = _shape(credits, d_hat, clip=clip, gate="all", mode=mode)
  assert jnp.min(shape.weight) == low
  assert jnp.max(shape.weight) == high
  # The teacher shapes credit and never turns it around.
  np.testing.assert_array_equal(
    jnp.sign(credits * shape.weight), jnp.sign(credits)
  )


def test_the_presets_by_kind_of_model():
  assert teacher.CLIP_WIDTHS == {"base": 1.0, "instruct": 0.5, "thinking": 0.2}


def test_widths_beyond_one_have_their_floor_at_zero():
  for mode in ("ratio", "sign"):
    shape = _shape([[1.0]], [[-30.0]], mix=1.0, clip=5.0, mode=mode)
    _close(shape.weight, [[0.0]])


def test_no_log_ratio_overflows():
  for d_hat in (1e4, 3e38):
    shape = _shape([[1.0, 1.0]], [[d_hat, -d_hat]], mix=1.0, clip=1e9)
    _close(shape.weight, [[math.exp(20.0), math.exp(-20.0)]], rtol=1e-5)


@marks.with_and_without_jit
def test_without_the_gate_own_tokens_of_wrong_rows_are_punished_less(transform):
  # -1 (0.5 + 0.5 / e).
  wrong = dict(correct=[0.0], gate="all", transform=transform)
  _close(_rlrt([[-1.0]], [[1.0]], **wrong), [[-0.683940]])
  # RLSD punishes them more: -1 (0.5 + 0.5 * 2).
  _close(_rlsd([[-1.0]], [[1.0]]), [[-1.5]])


def test_a_credit_of_zero_has_the_weight_one():
  # A log-ratio that is infinite, as compiled code may meet it: 0 * inf.
  for d_hat in (3.0, math.inf):
    run = jax.jit(functools.partial(_shape, [[0.0, 1.0]]))
    np.testing.assert_array_equal(
      run(testing.floats([[d_hat, 1.0]])).weight, [[1.0, 1.5]]
    )


def test_means_under_the_student():
  # P_S = (.5, .5), P_T = (.9, .1): E[P_S / P_T] = (5 / 9 + 5) / 2, which is
  # 1 + chi^2, and E[P_T / P_S] = (9 / 5 + 1 / 5) / 2.
  d_hat = _gaps(np.log([0.5, 0.5]), np.log([0.9, 0.1]))
  ones = [[1.0, 1.0]]
  mean = lambda method, clip: np.mean(method(ones, d_hat, mix=1.0, clip=clip))
  _close(mean(_rlrt, 10.0), 2.777778)
  _close(mean(_rlsd, 10.0), 1.0)
  # (5 / 9 + 2) / 2 and (0.8 + 1.2) / 2.
  _close(mean(_rlrt, 1.0), 1.277778)
  _close(mean(_rlrt, 0.2), 1.0)


def test_lambda_follows_a_schedule():
  # RLSD: from 0.5 linearly to 0 over 50 steps, here from step 0 on.
  schedule = schedules.Schedule(0.5, 0.0, 50)
  for step, mix in ((1, 0.5), (26, 0.25), (51, 0.0), (99, 0.0)):
    _close(schedule(step - 1), mix)
    found = _rlsd([[1.0, 1.0]], _D_HAT, mix=schedule(step - 1), clip=0.2)
    _close(found, [[1.0 - 0.2 * mix, 1.0 + 0.2 * mix]])


@marks.with_and_without_jit
def test_junk_outside_of_the_completion_reaches_nothing(transform):
  for normalize in ("none", "row_mean"):
    settings = dict(normalize=normalize, transform=transform)
    dirty = _shape(
      [[2.0, 2.0, _NAN], [_NAN] * 3],
      [[1.0, -1.0, _NAN], [_NAN] * 3],
      mask=[[1, 1, 0], [0, 0, 0]],
      **settings,
    )
    clean = _shape([[2.0, 2.0]], [[1.0, -1.0]], **settings)
    np.testing.assert_array_equal(dirty.weight[0, :2], clean.weight[0])
    assert jnp.all(jnp.isfinite(dirty.weight))


def test_the_student_gets_no_gradient_from_its_weights():
  total = lambda d_hat: jnp.sum(_rlrt([[2.0, 2.0]], d_hat))
  gradient = jax.jit(jax.grad(total))(testing.floats([[0.3, -0.2]]))
  np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


# --------------------------------------------------------------- extensions


def test_the_sign_alone_is_every_ratio_at_its_clip():
  # Lambda 0.5, eps 0.4: 1 + 0.2 and 1 - 0.2; 1 within the threshold.
  shape = _shape(
    [[1.0, 1.0, 1.0, 1.0]],
    [[0.6, -0.6, 0.5, -0.1]],
    clip=0.4,
    mode="sign",
    threshold=0.5,
  )
  _close(shape.weight, [[1.2, 0.8, 1.0, 1.0]])
  # Of wrong rows the other way round.
  shape = _shape([[-1.0, -1.0]], [[0.6, -0.6]], mode="sign", gate="all")
  _close(shape.weight, [[0.5, 1.5]])


def test_keeping_only_what_the_teacher_would_not_have_said():
  shape = _shape(
    [[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
    [[0.6, 0.4, -0.6]] * 4,
    correct=[1.0, 0.0, 1.0, 1.0],
    taught=[1.0, 1.0, 0.0, 1.0],
    mode="keep",
    threshold=0.5,
  )
  assert shape.weight == 1.0 and shape.bonus == 0.0
  # A wrong row, one without a teacher and one without credit keep all.
  np.testing.assert_array_equal(
    shape.mask, [[1, 0, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1]]
  )
  # Without the gate, wrong rows keep what the teacher predicts.
  shape = _shape([[-1.0, -1.0]], [[0.6, -0.6]], mode="keep", gate="all")
  np.testing.assert_array_equal(shape.mask, [[0.0, 1.0]])


def test_the_row_mean_keeps_the_step_of_a_row():
  # Weights 1.5 and 0.68394 over their mean 1.09197; the wrong row stays.
  shape = _shape(
    [[1.0, 1.0], [-1.0, -1.0]],
    _D_HAT * 2,
    correct=[1.0, 0.0],
    normalize="row_mean",
  )
  mean = (1.5 + 0.5 + 0.5 / math.e) / 2
  _close(
    shape.weight,
    [[1.5 / mean, (0.5 + 0.5 / math.e) / mean], [1.0, 1.0]],
  )
  _close(np.mean(shape.weight, axis=1), [1.0, 1.0])


def test_a_row_whose_weights_are_all_zero_has_no_mean_to_divide_by():
  shape = _shape(
    [[1.0, 1.0]], [[-1.0, -1.0]], mix=1.0, mode="sign", normalize="row_mean"
  )
  np.testing.assert_array_equal(shape.weight, [[0.0, 0.0]])


@pytest.mark.parametrize(
  "setting, valid",
  [("gate", "all, correct"), ("mode", "keep, ratio, sign"),
   ("normalize", "none, row_mean")],
)  # fmt: skip
def test_an_unknown_setting_is_met_with_the_list(setting, valid):
  with pytest.raises(errors.UserError) as caught:
    _shape([[1.0]], [[1.0]], **{setting: "other"})
  assert str(caught.value) == f"{setting} is 'other': choose one of {valid}"
