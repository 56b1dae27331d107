"""Where one way to assign credit is another, or is idle."""

import jax.numpy as jnp
import pytest

from rlvr_jax import advantages
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import masked
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping
from tests import batches
from tests.identities import comparison

_bound = objective_lib.bound
_GRPO = batches.GRPO
_assert_same = comparison.assert_same
_SAMPLES = 3


# ----------------------------------------------------------------- advantages


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
      advantage=_bound(batches.plain_rewards),
      token_loss=_bound(losses.reinforce),
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


# --------------------------------------------------- shaping, filters, actors


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


# -------------------------------------------------------------- token weights


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
