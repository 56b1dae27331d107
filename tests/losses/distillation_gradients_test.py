"""Distillation losses: gradients, junk, and candidates never given."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import testing
from tests.losses import two_views

_NAN, _INF = float("nan"), float("inf")
_batch = two_views.batch
_close = two_views.close
_floats = testing.floats
_LOSSES = two_views.LOSSES
_opsd = two_views.opsd
_sdft = two_views.sdft
_views = two_views.views
_each_loss = pytest.mark.parametrize("name", _LOSSES)
_STUDENTS = ("logprobs", "support_logprobs")
_TEACHERS = ("teacher_logprobs", "teacher_support_logprobs")


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
  value, gradient = jax.jit(jax.value_and_grad(total))(logits)
  _close(value, 0.0, atol=1e-6)
  _close(gradient, jnp.zeros_like(logits), atol=1e-6)


@_each_loss
@pytest.mark.parametrize(
  "junk", [_NAN, pytest.param(-_INF, marks=pytest.mark.slow)]
)
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
