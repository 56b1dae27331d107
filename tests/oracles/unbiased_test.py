"""Estimators whose expectation is the gradient of the expected reward.

J = sum over completions of probability times reward. Everything here has
exactly its gradient, or that times a number that is stated.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax.rewards import shaping
from tests.oracles import enumeration

_bound = objective_lib.bound
# Seven completions of one or two tokens: token 0 ends one.
_SPACE = enumeration.space(vocab_size=3, length=2, end=0)
_TABLE = enumeration.random_table(0, _SPACE, 3)
_REWARDS = np.random.default_rng(1).normal(size=len(_SPACE.tokens))
# A sum over the tokens of a row, a mean over rows.
_TOKEN_SUM = _bound(losses.fixed_length, length=1)


def rewards_alone(*, rewards):
  return rewards


def _method(advantage=rewards_alone, loss=None, **changes):
  return objective_lib.Objective(
    advantage=_bound(advantage),
    token_loss=loss or _bound(losses.reinforce),
    aggregate=_TOKEN_SUM,
    **changes,
  )


def _value(table, over=_SPACE, rewards=_REWARDS):
  """J, from probabilities alone."""
  chances = enumeration.probabilities(table, over)
  return jnp.sum(chances * jnp.asarray(rewards, table.dtype))


_exact = enumeration.gradient(_value)


def _estimate(method, table, samples, valid=None, **frozen):
  return enumeration.expected_gradient(
    method,
    lambda table: enumeration.fields(table, _SPACE, _REWARDS, **frozen),
    table,
    enumeration.draws([enumeration.probabilities(table, _SPACE)], samples),
    valid,
  )


def test_the_table_policy_is_a_distribution_in_both_accounts(precision):
  table = precision.array(_TABLE)
  chances = enumeration.probabilities(table, _SPACE)
  summed = jnp.sum(enumeration.logprobs(table, _SPACE), axis=1)
  enumeration.assert_equal(jnp.sum(chances), jnp.ones(()), precision)
  enumeration.assert_equal(jnp.exp(summed), chances, precision)
  assert sorted(set(_SPACE.lengths)) == [1.0, 2.0]


@pytest.mark.parametrize("samples", [1, 2])
def test_reinforce_without_a_baseline_is_unbiased(precision, samples):
  table = precision.array(_TABLE)
  enumeration.assert_equal(
    _estimate(_method(), table, samples),
    _exact(table),
    precision,
  )


_SURROGATES = {
  "ppo_clip": dict(loss=_bound(losses.ppo_clip)),
  "dual clip": dict(loss=_bound(losses.ppo_clip, dual_clip=2.0)),
  "gspo": dict(loss=_bound(losses.gspo)),
  "cispo": dict(loss=_bound(losses.cispo)),
  "clip_cov": dict(
    loss=_bound(losses.clip_cov),
    derived=(_bound(derived.clip_cov_tokens, cov_low=1.0, cov_high=1.0),),
  ),
  # Its penalty has neither value nor gradient at a first update, although the
  # choice of tokens depends on the outcome.
  "kl_cov": dict(
    loss=_bound(losses.kl_cov),
    derived=(_bound(derived.kl_cov_tokens, select_frac=0.5),),
  ),
}


@pytest.mark.parametrize("name", _SURROGATES)
def test_every_surrogate_is_reinforce_at_a_first_update(precision, name):
  table = precision.array(_TABLE)
  uniforms = jnp.full(_SPACE.tokens.shape, 0.5, precision.dtype)
  estimate = _estimate(
    _method(**_SURROGATES[name]), table, 2, token_uniforms=uniforms
  )
  enumeration.assert_equal(estimate, _exact(table), precision)


@pytest.mark.parametrize("samples", [2, 3])
def test_leave_one_out_is_unbiased(precision, samples):
  table = precision.array(_TABLE)
  enumeration.assert_equal(
    _estimate(_method(advantages.rloo_advantages), table, samples),
    _exact(table),
    precision,
  )


def test_leave_one_out_is_unbiased_among_the_rows_that_were_judged(precision):
  # The third row is never judged and holds NaN: two valid rows are left.
  table = precision.array(_TABLE)
  estimate = _estimate(
    _method(advantages.rloo_advantages), table, 3, valid=(1.0, 1.0, 0.0)
  )
  enumeration.assert_equal(estimate, _exact(table), precision)


@pytest.mark.parametrize("samples", [2, 3])
def test_the_mean_of_the_whole_group_costs_a_factor(precision, samples):
  # A sample in its own baseline: (n - 1) / n of the gradient, nothing else.
  table = precision.array(_TABLE)
  exact = _exact(table)
  enumeration.assert_equal(
    _estimate(_method(advantages.dr_grpo_advantages), table, samples),
    (samples - 1) / samples * exact,
    precision,
  )


def test_that_factor_counts_the_rows_that_were_judged(precision):
  table = precision.array(_TABLE)
  estimate = _estimate(
    _method(advantages.dr_grpo_advantages), table, 3, valid=(1.0, 0.0, 1.0)
  )
  enumeration.assert_equal(estimate, 0.5 * _exact(table), precision)


def test_leave_one_out_over_two_prompts_is_the_mean_of_their_gradients(
  precision,
):
  # All 7^4 batches of two prompts with two completions each.
  tables = precision.array(
    [enumeration.random_table(seed, _SPACE, 3) for seed in (2, 3)]
  )
  rewards = np.random.default_rng(4).normal(size=(2, len(_SPACE.tokens)))
  each = lambda tables, function: [
    function(tables[prompt], _SPACE, rewards[prompt]) for prompt in (0, 1)
  ]
  estimate = enumeration.expected_gradient(
    _method(advantages.rloo_advantages),
    lambda tables: enumeration.stacked(each(tables, enumeration.fields)),
    tables,
    enumeration.draws(
      [enumeration.probabilities(tables[prompt], _SPACE) for prompt in (0, 1)],
      samples=2,
    ),
  )
  exact = enumeration.gradient(lambda tables: 0.5 * sum(each(tables, _value)))(
    tables
  )
  enumeration.assert_equal(estimate, exact, precision)


@pytest.mark.parametrize(
  "advantage, samples",
  [(rewards_alone, 1), (advantages.rloo_advantages, 2)],
  ids=["reinforce", "leave one out"],
)
def test_a_divergence_in_the_reward_is_regularised_exactly(
  precision, advantage, samples
):
  # J = E[r] - coef * KL(policy || reference), over whole completions.
  table = precision.array(_TABLE)
  reference = precision.array(enumeration.random_table(5, _SPACE, 3))
  estimate = _estimate(
    _method(
      advantage,
      reward_shaping=(_bound(shaping.sequence_kl_penalty, kl_coef=0.3),),
    ),
    table,
    samples,
    ref_logprobs=enumeration.logprobs(reference, _SPACE),
  )
  exact = enumeration.gradient(
    lambda table: (
      _value(table) - 0.3 * enumeration.divergence(table, reference, _SPACE)
    )
  )(table)
  enumeration.assert_equal(estimate, exact, precision)
  # The divergence matters here: without it the oracle is another one.
  assert enumeration.error(_exact(table), exact) > 0.1
