"""SRPO: routes, denominator and weights."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests import marks
from tests import testing
from tests.losses import two_views

_bound = objective_lib.bound
_batch = two_views.batch
_close = two_views.close
_floats = testing.floats
_LOSSES = two_views.LOSSES
_rows = two_views.rows
_STUDENT = two_views.STUDENT
_TEACHER = two_views.TEACHER
_views = two_views.views


@marks.with_and_without_jit
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
