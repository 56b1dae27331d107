"""AntiSD: exact bonuses, the gate of entropies, junk."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import token_weights
from tests import marks
from tests import testing

_NAN = float("nan")
_close = functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=0)


def _bonus(
  d_hat,
  entropies=None,
  *,
  taught=None,
  mask=None,
  mix=1.0,
  transform=lambda f: f,
  **settings,
):
  d_hat = testing.floats(d_hat)
  ones = jnp.ones_like(d_hat)
  method = functools.partial(token_weights.antisd, **settings)
  shape = transform(method)(
    d_hat=d_hat,
    teacher_entropies=ones if entropies is None else testing.floats(entropies),
    has_teacher=ones[:, 0] if taught is None else testing.floats(taught),
    completion_mask=ones if mask is None else testing.floats(mask),
    teacher_mix=testing.floats(mix),
  )
  assert shape.weight == 1.0 and shape.mask == 1.0
  return shape.bonus


@marks.with_and_without_jit
def test_the_bonus_is_minus_phi_of_the_teachers_log_ratio(transform):
  # u = 0, 1, -1 and all but minus infinity.
  found = _bonus([[0.0, -1.0, 1.0, 1e4]], transform=transform)
  _close(found, [[0.0, -0.310057, 0.189943, 0.346574]])
  # Half of it at lambda 0.5.
  found = _bonus([[-1.0]], mix=0.5, transform=transform)
  _close(found, [[-0.155029]])


def test_a_token_that_the_teacher_never_gives_has_the_largest_bonus():
  run = jax.jit(_bonus)
  _close(run(testing.floats([[math.inf]])), [[0.346574]])


@marks.with_and_without_jit
def test_the_bonus_of_padding_and_of_rows_without_a_teacher_is_zero(transform):
  found = _bonus(
    [[-1.0, _NAN], [0.0, 0.0]],
    [[1.0, _NAN], [_NAN, _NAN]],
    taught=[1.0, 0.0],
    mask=[[1, 0], [1, 1]],
    warm_entropy=0.5,
    transform=transform,
  )
  _close(found, [[-0.310057, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
  "entropy, share",
  # Off at 0.93 * 2 = 1.86, on at 2, half in the middle.
  [(0.0, 0.0), (1.86, 0.0), (1.93, 0.5), (2.0, 1.0), (5.0, 1.0)],
)
def test_the_gate_opens_with_the_teachers_entropy(entropy, share):
  found = _bonus([[-1.0]], [[entropy]], warm_entropy=2.0)
  _close(found, [[-0.310057 * share]])


def test_the_gate_averages_over_tokens_of_rows_with_a_teacher():
  # Entropies 1, 2 and 3 of taught tokens: mean 2, halfway from 1 to 3.
  found = _bonus(
    [[-1.0, -1.0], [-1.0, 0.0], [0.0, 0.0]],
    [[1.0, 2.0], [3.0, 99.0], [99.0, 99.0]],
    taught=[1.0, 1.0, 0.0],
    mask=[[1, 1], [1, 0], [1, 1]],
    warm_entropy=3.0,
    off_frac=1 / 3,
  )
  half = -0.310057 / 2
  _close(found, [[half, half], [half, 0.0], [0.0, 0.0]])


def test_a_batch_without_a_teacher_has_no_bonus():
  found = _bonus([[0.0]], taught=[0.0], warm_entropy=1.0)
  np.testing.assert_array_equal(found, [[0.0]])


@pytest.mark.parametrize(
  "settings",
  [dict(warm_entropy=-1.0), dict(off_frac=1.0), dict(off_frac=-0.1)],
)
def test_a_gate_that_cannot_be_is_refused(settings):
  with pytest.raises(errors.UserError, match="warm_entropy is "):
    _bonus([[0.0]], **settings)


def test_the_student_gets_no_gradient_from_its_bonus():
  total = lambda d_hat: jnp.sum(_bonus(d_hat))
  gradient = jax.jit(jax.grad(total))(testing.floats([[0.3, -0.2]]))
  np.testing.assert_array_equal(gradient, [[0.0, 0.0]])
