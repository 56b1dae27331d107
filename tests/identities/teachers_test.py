"""Where a method with a teacher is one without, or another one."""

import functools

import jax
import jax.numpy as jnp
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from rlvr_jax import token_weights
from tests import batches
from tests.identities import comparison

_bound = objective_lib.bound
_GRPO = batches.GRPO
_assert_same = comparison.assert_same


def _d_hat(student="old_logprobs", teacher="teacher_logprobs"):
  return _bound(
    derived.d_hat, student_logprobs=student, teacher_logprobs=teacher
  )


def _weighed(function, *, mix=0.5, clip=1.0, views=None, **settings):
  """GRPO under a teacher."""
  return _GRPO._replace(
    token_weights=(_bound(function, **settings),),
    derived=(views or _d_hat(),),
    scalars=dict(
      teacher_mix=schedules.Schedule(mix), teacher_clip=schedules.Schedule(clip)
    ),
  )


_rlrt = functools.partial(_weighed, token_weights.reversed_teacher)
_rlsd = functools.partial(_weighed, token_weights.rlsd)
_antisd = functools.partial(_weighed, token_weights.antisd)


@pytest.mark.parametrize(
  "method",
  [
    _rlrt(mix=0.0),
    _rlrt(clip=0.0),
    _rlrt(views=_d_hat(teacher="old_logprobs")),
    _rlrt(mix=0.0, gate="all", normalize="row_mean"),
    _rlrt(clip=0.0, mode="sign"),
    _rlrt(mode="keep", threshold=-1e9),
    _rlsd(mix=0.0),
    _rlsd(clip=0.0),
    _rlsd(views=_d_hat(teacher="old_logprobs")),
    _antisd(mix=0.0),
    # The teacher is never as unsure as that.
    _antisd(warm_entropy=99.0),
  ],
  ids=lambda x: "-".join(
    [x.token_weights[0].name, *map(str, x.token_weights[0].settings.values())]
  ),
)
def test_a_teacher_without_a_say_leaves_grpo(method):
  _assert_same(method, _GRPO, exact=True)


def test_antisd_of_a_teacher_that_is_the_student_is_grpo():
  _assert_same(_antisd(views=_d_hat(teacher="old_logprobs")), _GRPO)


@pytest.mark.parametrize("method", [_rlrt(), _rlsd(), _antisd()])
def test_rows_without_a_teacher_leave_grpo(method):
  fields = batches.fields()
  fields |= {"has_teacher": jnp.zeros_like(fields["has_teacher"])}
  _assert_same(method, _GRPO, fields, exact=True)
  # With their teachers they would not.
  with pytest.raises(AssertionError):
    _assert_same(method, _GRPO)


def test_groups_of_equal_rewards_leave_grpo_but_for_antisd():
  fields = batches.fields()
  ones = jnp.ones_like(fields["rewards"])
  fields |= {"rewards": ones, "is_correct": ones}
  for method, moves in ((_rlrt(), 0), (_rlsd(), 0), (_antisd(), 1)):
    value = lambda x, method=method: credit.whole_loss(
      method, fields | {"logprobs": x}
    )[0]
    gradient = jax.jit(jax.grad(value))(fields["logprobs"])
    assert bool(jnp.any(gradient)) == moves


@pytest.mark.parametrize("mix, clip", [(0.5, 1.0), (1.0, 0.2)])
def test_rlrt_without_its_gate_is_rlsd_with_the_views_exchanged(mix, clip):
  exchanged = _d_hat("teacher_logprobs", "old_logprobs")
  settings = dict(mix=mix, clip=clip)
  _assert_same(
    _rlrt(gate="all", **settings),
    _rlsd(views=exchanged, **settings),
    exact=True,
  )
  with pytest.raises(AssertionError):
    _assert_same(_rlrt(gate="all", **settings), _rlsd(**settings))


def test_the_sign_is_what_a_far_teacher_comes_to():
  # At 1,000 nats every ratio lies beyond its clip.
  fields = batches.fields()
  gap = fields["old_logprobs"] - fields["teacher_logprobs"]
  far = fields["old_logprobs"] - 1e3 * jnp.sign(gap)
  far = jnp.where(jnp.abs(gap) > 0, far, fields["old_logprobs"])
  _assert_same(_rlrt(mode="sign"), _rlrt(), fields | {"teacher_logprobs": far})


def _distilled(function, **settings):
  return objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_loss=_bound(function, **settings),
  )


@pytest.mark.parametrize(
  "beta, direction", [(0.0, "teacher_student"), (1.0, "student_teacher")]
)
def test_sdft_is_opsd_at_an_end(beta, direction):
  _assert_same(
    _distilled(losses.sdft, direction=direction),
    _distilled(losses.opsd, beta=beta),
    exact=True,
  )


def test_sdpo_from_the_sampled_token_is_reinforce_on_the_log_ratio():
  # At ratio 1, on rows that have a teacher: A = -d_hat.
  taught = (_bound(advantages.with_teacher),)
  _assert_same(
    _distilled(losses.sdpo_token)._replace(filters=taught),
    objective_lib.Objective(
      token_loss=_bound(losses.reinforce),
      token_weights=(_bound(towards_the_teacher),),
      derived=(_d_hat(),),
      filters=taught,
    ),
    batches.fields(moved=False),
  )


def towards_the_teacher(*, d_hat):
  return token_weights.TokenShape(bonus=-d_hat)


_SRPO = _distilled(losses.srpo, clip_high=0.2)


def test_srpo_of_right_rows_is_ppo():
  fields = batches.fields()
  fields |= {"is_correct": jnp.ones_like(fields["is_correct"])}
  weights = (_bound(derived.srpo_weights),)
  _assert_same(_SRPO._replace(derived=weights), _GRPO, fields, exact=True)


def test_srpo_of_wrong_rows_with_weights_of_one_is_sdpo():
  fields = batches.fields()
  fields |= {
    "is_correct": jnp.zeros_like(fields["is_correct"]),
    "srpo_weights": fields["completion_mask"],
  }
  taught = dict(filters=(_bound(advantages.with_teacher),))
  _assert_same(
    _SRPO._replace(**taught),
    _distilled(losses.sdpo)._replace(**taught),
    fields,
    exact=True,
  )
  # Equal entropies weigh one as well.
  even = {"teacher_entropies": 0.7 * fields["completion_mask"]}
  _assert_same(
    _SRPO._replace(derived=(_bound(derived.srpo_weights),), **taught),
    _distilled(losses.sdpo)._replace(**taught),
    fields | even,
  )


def test_srpo_without_a_teacher_is_ppo():
  fields = batches.fields()
  fields |= {"has_teacher": jnp.zeros_like(fields["has_teacher"])}
  weights = (_bound(derived.srpo_weights),)
  _assert_same(_SRPO._replace(derived=weights), _GRPO, fields, exact=True)


def test_a_filter_for_teachers_takes_the_others_out_of_the_mean():
  # Losses are 0 without a teacher: only the denominator is another one.
  fields = batches.fields()
  mask = fields["completion_mask"]
  taught = jnp.sum(mask * fields["has_teacher"][:, None])
  _assert_same(
    _distilled(losses.sdpo)._replace(
      filters=(_bound(advantages.with_teacher),)
    ),
    _distilled(losses.sdpo),
    fields,
    factor=float(jnp.sum(mask) / taught),
  )
