"""What a teacher makes of sampled tokens: signs, weights, missing teachers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import errors
from rlvr_jax import objective as objective_lib
from tests import batches
from tests import marks
from tests import testing

_NAN = float("nan")


def _d_hat(student, teacher, has_teacher=(1.0,), mask=None, transform=None):
  student = testing.floats(student)
  mask = jnp.ones_like(student) if mask is None else testing.floats(mask)
  return (transform or (lambda f: f))(derived.d_hat)(
    student_logprobs=student,
    teacher_logprobs=testing.floats(teacher),
    has_teacher=testing.floats(has_teacher),
    completion_mask=mask,
  )


# ------------------------------------------------------------------- d_hat


@marks.with_and_without_jit
def test_it_is_the_student_less_the_teacher(transform):
  # P_S = (.5, .5) and P_T = (.9, .1): ln(5 / 9) and ln 5.
  found = _d_hat(
    np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]]), transform=transform
  )
  np.testing.assert_allclose(found, [[-0.587787, 1.609438]], atol=1e-5)
  # Its mean under the student is KL(S || T), at least twice TV^2.
  mean = float(np.mean(found))
  assert mean == pytest.approx(0.510826, abs=1e-5)
  assert mean / 2 >= 0.4**2


def test_a_teacher_that_is_the_student_gives_exactly_nothing():
  same = [[-0.3, -1.7, -4.1]]
  np.testing.assert_array_equal(_d_hat(same, same), jnp.zeros((1, 3)))


@marks.with_and_without_jit
@pytest.mark.parametrize("junk", [_NAN, -math.inf])
def test_padding_and_rows_without_a_teacher_are_zero(transform, junk):
  found = _d_hat(
    [[-1.0, -1.0], [-1.0, -1.0]],
    [[-2.0, junk], [junk, junk]],
    has_teacher=[1.0, 0.0],
    mask=[[1.0, 0.0], [1.0, 1.0]],
    transform=transform,
  )
  np.testing.assert_array_equal(found, [[1.0, 0.0], [0.0, 0.0]])


def test_neither_view_gets_a_gradient():
  total = lambda student, teacher: jnp.sum(
    _d_hat(student, teacher, mask=[[1.0, 0.0]])
  )
  for junk in (-1.0, _NAN):
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(
      testing.floats([[-1.0, -2.0]]), testing.floats([[-2.0, junk]])
    )
    for gradient in gradients:
      np.testing.assert_array_equal(gradient, jnp.zeros((1, 2)))


def test_a_method_names_the_student():
  # With the current policy it is computed anew at each update, frozen.
  fields = batches.fields()
  for student in ("old_logprobs", "frozen_logprobs", "logprobs"):
    part = objective_lib.bound(derived.d_hat, student_logprobs=student)
    assert part.reads(credit.LIVE_FIELDS) == (student == "logprobs")
    inside = fields["completion_mask"] * fields["has_teacher"][:, None]
    gap = fields[student] - fields["teacher_logprobs"]
    np.testing.assert_allclose(part(fields), gap * inside, atol=1e-6)
    total = lambda x, part=part: jnp.sum(part(fields | {"logprobs": x}))
    np.testing.assert_array_equal(
      jax.grad(total)(fields["logprobs"]), jnp.zeros_like(inside)
    )


def test_the_method_says_so_when_the_student_is_not_named():
  config = dict(
    token_loss="reinforce",
    derived=("d_hat",),
    token_weights=("reversed_teacher",),
    scalars=dict(teacher_mix=0.5, teacher_clip=1.0),
  )
  with pytest.raises(errors.UserError, match="'student_logprobs', which no"):
    objective_lib.bind(config)
  objective_lib.bind(config | {"d_hat": dict(student_logprobs="old_logprobs")})


# ------------------------------------------------------------ srpo_weights


def _weights(entropies, *, correct=None, taught=None, mask=None, **settings):
  entropies = testing.floats(entropies)
  rows = entropies.shape[0]
  return derived.srpo_weights(
    teacher_entropies=entropies,
    is_correct=jnp.zeros(rows) if correct is None else testing.floats(correct),
    has_teacher=jnp.ones(rows) if taught is None else testing.floats(taught),
    completion_mask=(
      jnp.ones_like(entropies) if mask is None else testing.floats(mask)
    ),
    **settings,
  )


def test_a_sure_teacher_weighs_more():
  # exp(-H) = (1, 1/2) over their mean 3/4.
  found = _weights([[0.0, math.log(2.0)]])
  np.testing.assert_allclose(found, [[4 / 3, 2 / 3]], atol=1e-6)
  # At twice the temperature (1, 2^-0.5).
  found = _weights([[0.0, math.log(2.0)]], temperature=2.0)
  ratio = 2**-0.5
  np.testing.assert_allclose(
    found, [[2 / (1 + ratio), 2 * ratio / (1 + ratio)]], atol=1e-6
  )


def test_the_mean_counts_wrong_rows_with_a_teacher_over_the_whole_batch():
  # Rows: wrong and taught, right, wrong and untaught, wrong and taught.
  low, high = 0.0, math.log(2.0)
  found = _weights(
    [[low, _NAN], [9.0, 9.0], [_NAN, _NAN], [high, high]],
    correct=[0.0, 1.0, 0.0, 0.0],
    taught=[1.0, 1.0, 0.0, 1.0],
    mask=[[1, 0], [1, 1], [1, 1], [1, 1]],
  )
  # (1, 1/2, 1/2) over their mean 2/3.
  np.testing.assert_allclose(
    found, [[1.5, 0.0], [0.0, 0.0], [0.0, 0.0], [0.75, 0.75]], atol=1e-6
  )


def test_half_a_row_twice_is_the_row():
  once = _weights([[0.3, 1.0], [0.1, 2.0]])
  twice = _weights(
    [[0.3, 1.0], [0.3, 1.0], [0.1, 2.0]],
    mask=[[0.5, 0.5], [0.5, 0.5], [1, 1]],
  )
  np.testing.assert_allclose(twice[1:], once, rtol=1e-6)


def test_equal_entropies_weigh_one_however_large():
  # exp(-500) is 0 in float32.
  for entropy in (0.5, 500.0):
    found = _weights([[entropy, entropy]])
    np.testing.assert_array_equal(found, [[1.0, 1.0]])


def test_without_a_wrong_row_all_weights_are_zero():
  found = _weights([[0.5, 0.5]], correct=[1.0])
  np.testing.assert_array_equal(found, [[0.0, 0.0]])


def test_the_teacher_gets_no_gradient_from_its_entropy():
  total = lambda x: jnp.sum(_weights(x) * testing.floats([[1.0, 3.0]]))
  gradient = jax.jit(jax.grad(total))(testing.floats([[0.2, 0.9]]))
  np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


def test_a_temperature_of_zero_is_refused():
  with pytest.raises(errors.UserError, match="temperature is 0.0"):
    _weights([[0.5]], temperature=0.0)
