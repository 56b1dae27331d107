"""Reduction identities: where one method is another, value and gradient.

Every pair is compared through the whole of credit and loss on one random
batch of unequal lengths, on which the clip binds here and there. Gradients are
those of the log-probabilities, of the sampled tokens and of the candidates,
and of the entropies.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import masked
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from rlvr_jax import token_weights
from rlvr_jax.losses.trajectory_balance import PRESETS
from rlvr_jax.rewards import shaping
from tests import batches

_bound = objective_lib.bound
_SAMPLES = 3
_GRPO = objective_lib.Objective(
  advantage=_bound(advantages.grpo_advantages),
  token_loss=_bound(losses.ppo_clip),
)
_WIDE = dict(clip_low=float("inf"), clip_high=float("inf"))
_UNCLIPPED = _GRPO._replace(token_loss=_bound(losses.ppo_clip, **_WIDE))


def _value_and_gradients(method, fields):
  names = ("logprobs", "entropies", "support_logprobs")

  def loss(*live):
    live = dict(zip(names, live, strict=True))
    return credit.whole_loss(method, fields | live)[0]

  value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(
    *(fields[name] for name in names)
  )
  # Two methods without any gradient would agree on everything.
  assert max(jnp.max(jnp.abs(gradients[i])) for i in (0, 2)) > 1e-3
  return value, gradients


def _assert_same(
  one, other, fields=None, *, factor=1.0, exact=False, value=True
):
  """`one` is `factor` times `other`; without value, in its gradient alone."""
  fields = batches.fields() if fields is None else fields
  found, found_gradients = _value_and_gradients(one, fields)
  expected, expected_gradients = _value_and_gradients(other, fields)
  tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-6, atol=1e-7)
  compare = functools.partial(np.testing.assert_allclose, **tolerance)
  if value:
    compare(found, factor * expected)
  for gradient, other_gradient in zip(
    found_gradients, expected_gradients, strict=True
  ):
    compare(gradient, factor * other_gradient)


# --------------------------------------------------------------- surrogates


def test_the_batch_tells_methods_apart():
  fields = batches.fields()
  inside = fields["completion_mask"] > 0
  ratio = jnp.exp(fields["logprobs"] - fields["old_logprobs"])[inside]
  assert jnp.sum(ratio > 1.2) >= 3
  assert jnp.sum(ratio < 0.8) >= 3
  with pytest.raises(AssertionError):
    _assert_same(_GRPO, _UNCLIPPED)


@pytest.mark.parametrize(
  "settings", [{}, dict(clip_low=0.01, clip_high=0.28, dual_clip=1.5)]
)
def test_ppo_at_ratio_one_has_the_gradient_of_reinforce(settings):
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.ppo_clip, **settings)),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    value=False,
    exact=True,
  )


def test_cispo_at_ratio_one_is_reinforce():
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.cispo)),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    exact=True,
  )


@pytest.mark.parametrize("moved", [True, False])
def test_gspo_on_responses_of_one_token_is_ppo(moved):
  widths = dict(clip_low=0.2, clip_high=0.2)
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.gspo, **widths)),
    _GRPO._replace(token_loss=_bound(losses.ppo_clip, **widths)),
    batches.fields(moved=moved, length=1, num_prompts=8),
  )


def test_gspo_at_ratio_one_has_the_gradient_of_reinforce():
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.gspo)),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    value=False,
  )


def test_a_large_dual_clip_is_off():
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.ppo_clip, dual_clip=1e6)),
    _GRPO,
    exact=True,
  )


def test_reinforce_with_advantages_of_one_is_maximum_likelihood():
  ones = dict(advantage=_bound(plain_rewards))
  fields = batches.fields() | {
    "rewards": jnp.ones_like(batches.fields()["rewards"])
  }
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.reinforce), **ones),
    _GRPO._replace(token_loss=_bound(losses.negative_log_likelihood), **ones),
    fields,
    exact=True,
  )


def _kl_cov(coef=1.0, **settings):
  return _GRPO._replace(
    token_loss=_bound(losses.kl_cov, kl_cov_coef=coef),
    derived=(_bound(derived.kl_cov_tokens, **settings),),
  )


def test_kl_cov_without_chosen_tokens_is_the_unclipped_surrogate():
  _assert_same(_kl_cov(select_frac=0.0), _UNCLIPPED)


def test_kl_cov_without_penalty_is_the_unclipped_surrogate():
  _assert_same(_kl_cov(coef=0.0, select_frac=0.5), _UNCLIPPED)


def test_kl_cov_at_ratio_one_has_the_gradient_of_reinforce():
  # The penalty |log-ratio| has slope 0 at 0: it acts from the second
  # minibatch on.
  _assert_same(
    _kl_cov(coef=3.0, select_frac=0.5),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    value=False,
    exact=True,
  )


def test_clip_cov_with_an_empty_band_is_ppo():
  _assert_same(
    _GRPO._replace(
      token_loss=_bound(losses.clip_cov),
      derived=(_bound(derived.clip_cov_tokens, cov_low=1.0, cov_high=1.0),),
    ),
    _GRPO,
    exact=True,
  )


# --------------------------------------------------------------- advantages


def plain_rewards(*, rewards):
  """Advantages that are the rewards themselves."""
  return rewards


def test_grpo_without_deviation_is_dr_grpo():
  _assert_same(
    _GRPO._replace(
      advantage=_bound(advantages.grpo_advantages, normalize_std=False)
    ),
    _GRPO._replace(advantage=_bound(advantages.dr_grpo_advantages)),
    exact=True,
  )


def test_leave_one_out_is_a_multiple_of_dr_grpo():
  # n / (n - 1) with n = 3 samples; ratios are clipped alike.
  _assert_same(
    _GRPO._replace(advantage=_bound(advantages.rloo_advantages)),
    _GRPO._replace(advantage=_bound(advantages.dr_grpo_advantages)),
    factor=_SAMPLES / (_SAMPLES - 1),
  )


def test_signed_weights_of_one_are_reinforce_on_rewards_of_either_sign():
  fields = batches.fields()
  fields |= {"rewards": 2.0 * fields["is_correct"] - 1.0}
  _assert_same(
    _GRPO._replace(
      advantage=_bound(
        advantages.signed_advantages, positive_weight=1.0, negative_weight=1.0
      ),
      token_loss=_bound(losses.reinforce),
    ),
    _GRPO._replace(
      advantage=_bound(plain_rewards), token_loss=_bound(losses.reinforce)
    ),
    fields,
    exact=True,
  )


def test_global_normalisation_of_one_group_of_equal_lengths_is_grpo():
  # One prompt of three full responses: the token statistics see each row T
  # times, so Bessel's correction runs over n T - 1 and not n - 1 values.
  fields = batches.fields(num_prompts=1)
  full = jnp.ones_like(fields["completion_mask"])
  fields |= {"completion_mask": full}
  n, tokens = _SAMPLES, full.size
  _assert_same(
    _GRPO._replace(
      advantage=_bound(advantages.reinforce_pp_advantages, epsilon=0.0)
    ),
    _GRPO._replace(advantage=_bound(advantages.grpo_advantages, epsilon=0.0)),
    fields,
    factor=(((tokens - 1) / tokens) * (n / (n - 1))) ** 0.5,
  )


def test_global_normalisation_knows_no_groups_of_one_mean():
  # Every group has one success in three.
  _assert_same(
    _GRPO._replace(
      advantage=_bound(advantages.reinforce_pp_baseline_advantages)
    ),
    _GRPO._replace(advantage=_bound(advantages.reinforce_pp_advantages)),
  )


def test_dapo_with_equal_widths_on_mixed_groups_is_grpo_by_the_token():
  dapo = objective_lib.Objective(
    reward_shaping=(_bound(shaping.overlong_penalty),),
    advantage=_bound(advantages.grpo_advantages),
    filters=(_bound(advantages.mixed_groups),),
    token_loss=_bound(losses.ppo_clip, clip_low=0.2, clip_high=0.2),
    aggregate=_bound(losses.token_mean),
  )
  _assert_same(dapo, _GRPO, exact=True)
  with pytest.raises(AssertionError):
    _assert_same(
      dapo._replace(token_loss=_bound(losses.ppo_clip, clip_high=0.28)), _GRPO
    )


# -------------------------------------------------- shaping, filters, actors


@pytest.mark.parametrize(
  "changes",
  [
    dict(filters=(_bound(advantages.mixed_groups),)),
    # Completions have at most 6 tokens.
    dict(
      reward_shaping=(
        _bound(shaping.overlong_penalty, max_tokens=10, buffer_tokens=4),
      )
    ),
    dict(reward_shaping=(_bound(shaping.sequence_kl_penalty, kl_coef=0.0),)),
    dict(reward_shaping=(_bound(shaping.unlikeliness, rank_coef=0.0),)),
  ],
  ids=["mixed_groups", "overlong_penalty", "kl_penalty", "unlikeliness"],
)
def test_idle_before_the_advantage(changes):
  _assert_same(_GRPO._replace(**changes), _GRPO, exact=True)


def test_a_policy_at_its_reference_pays_no_penalty_in_the_reward():
  fields = batches.fields()
  _assert_same(
    _GRPO._replace(
      reward_shaping=(_bound(shaping.sequence_kl_penalty, kl_coef=0.5),)
    ),
    _GRPO,
    fields | {"ref_logprobs": fields["old_logprobs"]},
    exact=True,
  )


_IMPORTANCE = _GRPO._replace(behavior=(_bound(losses.truncated_importance),))


def test_a_sampler_that_is_the_trainer_needs_no_correction():
  fields = batches.fields()
  _assert_same(
    _IMPORTANCE,
    _GRPO,
    fields | {"sampler_logprobs": fields["old_logprobs"]},
    exact=True,
  )


def test_a_cap_below_every_ratio_scales_the_loss():
  # Ratios of trainer to sampler are all at least 1.
  _assert_same(
    _GRPO._replace(
      behavior=(_bound(losses.truncated_importance, cap=0.25),),
    ),
    _GRPO,
    factor=0.25,
    exact=True,
  )


# ------------------------------------------------------------ token weights


def centred(*, token_advantages, completion_mask):
  """Token advantages minus their mean over all tokens."""
  mean = masked.masked_mean(token_advantages, completion_mask).value()
  return token_weights.TokenShape(bonus=-mean)


@pytest.mark.parametrize(
  "part",
  [
    _bound(token_weights.forking_token_mask, keep_frac=1.0),
    _bound(token_weights.steer_weights, weight_min=1.0, weight_max=1.0),
    _bound(token_weights.steer_weights, schedule="exponential", weight_min=1.0),
  ],
  ids=["forking", "steer linear", "steer exponential"],
)
@pytest.mark.parametrize("over_kept", [False, True])
def test_neutral_token_weights(part, over_kept):
  plain = _GRPO._replace(
    aggregate=_bound(losses.token_mean, over_kept=over_kept)
  )
  _assert_same(plain._replace(token_weights=(part,)), plain, exact=True)


@pytest.mark.parametrize(
  "amplification, phrases", [(0.0, ((4,), (5,))), (0.2, ())]
)
def test_hicra_without_bonus_or_without_phrases(amplification, phrases):
  _assert_same(
    _GRPO._replace(
      token_weights=(
        _bound(token_weights.hicra_weights, amplification=amplification),
      ),
      derived=(_bound(derived.planning_tokens, phrases=phrases),),
    ),
    _GRPO,
    exact=True,
  )


def test_empg_without_sharpness_and_future_centres_the_advantages():
  _assert_same(
    _GRPO._replace(
      token_weights=(
        _bound(token_weights.empg_weights, sharpness=0.0, future_coef=0.0),
      ),
      derived=(_bound(derived.segment_ids, separator_ids=(4, 5)),),
    ),
    _GRPO._replace(token_weights=(_bound(centred),)),
  )


def test_hicra_on_every_token_is_a_factor_by_sign():
  # A + 0.5 |A| = 1.5 A where A > 0 and 0.5 A where A < 0.
  every = tuple((token,) for token in range(11))
  _assert_same(
    _GRPO._replace(
      token_weights=(_bound(token_weights.hicra_weights, amplification=0.5),),
      derived=(_bound(derived.planning_tokens, phrases=every),),
    ),
    _GRPO._replace(token_weights=(_bound(by_sign),)),
  )


def by_sign(*, token_advantages):
  weight = jnp.where(token_advantages > 0, 1.5, 0.5)
  return token_weights.TokenShape(weight=weight)


# ----------------------------------------------------------------- teachers


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


# ------------------------------------------------------------- regularizers


def _regularized(function, coef=1.0):
  return _GRPO._replace(regularizers=(_bound(function, coef=coef),))


@pytest.mark.parametrize("term", [losses.kl_k2, losses.kl_k3])
def test_at_the_reference_a_divergence_is_zero_and_flat(term):
  fields = batches.fields()
  at_reference = fields | {"ref_logprobs": fields["logprobs"]}
  _assert_same(_regularized(term), _GRPO, at_reference, exact=True)


def test_at_the_reference_the_first_estimate_is_zero_but_not_flat():
  # Its slope is 1 on every token, at the reference as anywhere.
  fields = batches.fields()
  fields |= {"ref_logprobs": fields["logprobs"]}
  found, gradients = _value_and_gradients(_regularized(losses.kl_k1), fields)
  expected, expected_gradients = _value_and_gradients(_GRPO, fields)
  assert found == expected
  mask = fields["completion_mask"]
  np.testing.assert_allclose(
    gradients[0] - expected_gradients[0], mask / jnp.sum(mask), atol=1e-7
  )


@pytest.mark.parametrize(
  "term", [losses.entropy_bonus, losses.kl_k1, losses.kl_k2, losses.kl_k3]
)
def test_a_coefficient_of_zero_switches_a_term_off(term):
  _assert_same(_regularized(term, coef=0.0), _GRPO, exact=True)


def test_the_likelihood_as_a_term_is_reinforce_with_ones_added():
  _assert_same(
    objective_lib.Objective(
      advantage=_bound(advantages.grpo_advantages),
      token_loss=_bound(losses.reinforce),
      regularizers=(_bound(losses.negative_log_likelihood, coef=0.5),),
    ),
    objective_lib.Objective(
      advantage=_bound(advantages.grpo_advantages),
      token_weights=(_bound(plus_one_half),),
      token_loss=_bound(losses.reinforce),
    ),
  )


def plus_one_half(*, token_advantages):
  return token_weights.TokenShape(bonus=jnp.full_like(token_advantages, 0.5))


# --------------------------------------------------------------- aggregates

_AGGREGATES = (losses.token_mean, losses.sequence_mean, losses.fixed_length)


def _equal_lengths():
  fields = batches.fields()
  shape = fields["completion_mask"].shape
  fill = lambda x: jnp.where(x == 0.0, -0.5, x)
  names = ("logprobs", "old_logprobs", "ref_logprobs")
  return (
    fields
    | {name: fill(fields[name]) for name in names}
    | {"completion_mask": jnp.ones(shape)}
  )


@pytest.mark.parametrize("aggregate", _AGGREGATES[1:])
def test_equal_lengths_make_the_aggregates_agree(aggregate):
  part = dict(regularizers=(_bound(losses.kl_k3, coef=0.1),))
  _assert_same(
    _GRPO._replace(aggregate=_bound(aggregate), **part),
    _GRPO._replace(aggregate=_bound(losses.token_mean), **part),
    _equal_lengths(),
  )
  with pytest.raises(AssertionError):
    _assert_same(_GRPO._replace(aggregate=_bound(aggregate)), _GRPO)


def test_a_fixed_length_of_twice_the_tokens_halves_the_loss():
  length = _equal_lengths()["completion_mask"].shape[1]
  _assert_same(
    _GRPO._replace(aggregate=_bound(losses.fixed_length, length=2 * length)),
    _GRPO,
    _equal_lengths(),
    factor=0.5,
  )


def test_the_gspo_of_the_paper_is_its_token_form_under_sequence_mean():
  # Eq. 5, one value per response, differentiated as it stands; advantages are
  # those of the response.
  _assert_same(
    _GRPO._replace(
      token_loss=_bound(losses.gspo, clip_low=0.05, clip_high=0.05),
      aggregate=_bound(losses.sequence_mean),
    ),
    objective_lib.Objective(
      advantage=_bound(advantages.grpo_advantages),
      sequence_loss=_bound(sequence_surrogate),
    ),
  )


def sequence_surrogate(*, logprobs, old_logprobs, advantages, completion_mask):
  log_ratio = jnp.sum((logprobs - old_logprobs) * completion_mask, axis=1)
  ratio = jnp.exp(log_ratio / jnp.sum(completion_mask, axis=1))
  clipped = jnp.clip(ratio, 0.95, 1.05)
  return -jnp.minimum(ratio * advantages, clipped * advantages)


# ------------------------------------------------------- trajectory balance

_KAPPA = 20.0


def _balance(advantage, settings, kappa=_KAPPA):
  return objective_lib.Objective(
    advantage=advantage,
    sequence_loss=_bound(losses.trajectory_balance, **settings),
    scalars={"inv_temp": schedules.Schedule(kappa)},
  )


def less_estimate(*, rewards, log_partition):
  """REINFORCE with an estimate of the accuracy as its baseline."""
  return rewards - log_partition / _KAPPA


def test_paced_at_the_snapshot_is_reinforce_with_the_estimate_as_baseline():
  # Whatever the estimate: it is a baseline. 2 / beta, or 2 beta in units of
  # accuracy.
  reinforce = objective_lib.Objective(
    advantage=_bound(less_estimate),
    token_loss=_bound(losses.reinforce),
    aggregate=_bound(losses.fixed_length, length=1),
  )
  for units, factor in (("nats", 2 * _KAPPA), ("accuracy", 2 / _KAPPA)):
    settings = dict(anchor_logprobs="old_logprobs", units=units)
    _assert_same(
      _balance(None, settings),
      reinforce,
      batches.fields(moved=False),
      factor=factor,
      value=False,
    )


def test_flowrl_at_its_reference_is_thirty_times_grpo_by_the_response():
  fields = batches.fields(moved=False)
  preset = PRESETS["flowrl_recipe"]
  settings = {
    name: preset[name]
    for name in ("rewards", "length_norm", "w_mode", "w_low", "w_high")
  }
  _assert_same(
    _balance(
      _bound(advantages.grpo_advantages),
      settings | {"anchor_logprobs": preset["anchor"]},
      kappa=preset["inv_temp"],
    ),
    _GRPO._replace(
      token_loss=_bound(losses.reinforce),
      aggregate=_bound(losses.sequence_mean),
    ),
    fields
    | {
      "ref_logprobs": fields["old_logprobs"],
      "log_partition": jnp.zeros_like(fields["log_partition"]),
    },
    factor=30.0,
    value=False,
  )


def test_the_group_mean_at_the_snapshot_is_reinforce_with_the_mean_reward():
  # VarGrad's first step is that of Dr. GRPO, times 2 kappa.
  anchor = dict(anchor_logprobs="old_logprobs")
  _assert_same(
    _balance(None, anchor | dict(log_partition="vargrad_log_z"))._replace(
      derived=(_bound(losses.vargrad_log_z, **anchor),)
    ),
    objective_lib.Objective(
      advantage=_bound(advantages.dr_grpo_advantages),
      token_loss=_bound(losses.reinforce),
      aggregate=_bound(losses.fixed_length, length=1),
    ),
    batches.fields(moved=False),
    factor=2 * _KAPPA,
    value=False,
  )


# ----------------------------------------------------------- jit and eager


@pytest.mark.parametrize(
  "method",
  [
    _GRPO._replace(regularizers=(_bound(losses.kl_k3, coef=0.1),)),
    _kl_cov(select_frac=0.2),
    _GRPO._replace(
      advantage=_bound(advantages.rloo_advantages),
      filters=(_bound(advantages.mixed_groups),),
      token_weights=(
        _bound(token_weights.forking_token_mask),
        _bound(token_weights.steer_weights),
      ),
      behavior=(_bound(losses.truncated_importance),),
      aggregate=_bound(losses.token_mean, over_kept=True),
    ),
  ],
  ids=["grpo", "kl_cov", "many hooks"],
)
def test_compiled_and_eager_losses_agree(method):
  fields = batches.fields()
  value = lambda x: credit.whole_loss(method, fields | {"logprobs": x})[0]
  both = jax.value_and_grad(value)
  eager, compiled = both(fields["logprobs"]), jax.jit(both)(fields["logprobs"])
  np.testing.assert_allclose(eager[0], compiled[0], rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(eager[1], compiled[1], rtol=1e-6, atol=1e-7)


def test_old_logprobs_carry_no_gradient_of_their_own():
  # Ratio 1 made of one and the same array: only the policy's part of the
  # gradient is asked for, and it is that of REINFORCE.
  fields = batches.fields(moved=False)

  def value(logprobs):
    old = {"old_logprobs": lax.stop_gradient(logprobs)}
    return credit.whole_loss(_GRPO, fields | old | {"logprobs": logprobs})[0]

  _, expected = _value_and_gradients(
    _GRPO._replace(token_loss=_bound(losses.reinforce)), fields
  )
  np.testing.assert_array_equal(
    jax.grad(value)(fields["logprobs"]), expected[0]
  )
