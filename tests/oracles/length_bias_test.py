"""What averaging over tokens does to completions of unequal length.

Only a constant denominator leaves the gradient of the expected reward alone.
With L the length of a completion and J0 the present expected reward,

  sequence_mean   REINFORCE climbs E[r / L], leave one out E[(r - J0) / L]:
                  short right answers gain more than long ones, and long wrong
                  ones lose less than short ones.
  token_mean      a sample's denominator is its own length plus that of its
                  company: the credit is n * mean over the company of
                  r / (L + L'), or of (r - r') / (L + L') for leave one out.

In each case the credit of a completion is a number c: the expected gradient is
that of sum_s p(s) * c(s), with c held at the present policy. On the policy of
these tests (lengths 1, 2, 3, 3) it stands at an angle to grad J of

  degrees         REINFORCE                       leave one out
  sequence_mean   30.3                            17.0
  token_mean      30.3, 20.1, 14.6 (n = 1, 2, 3)  8.5, 6.4 (n = 2, 3)
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests.oracles import enumeration

_bound = objective_lib.bound
# Four completions of one, two and three tokens: token 0 ends one.
_SPACE = enumeration.space(vocab_size=2, length=3, end=0)
_TABLE = enumeration.random_table(0, _SPACE, 2)
_REWARDS = np.array([0.7, -0.4, 1.3, 0.9])
_LENGTHS = _SPACE.lengths


def rewards_alone(*, rewards):
  return rewards


def _estimate(table, advantage, aggregate, samples, rewards=_REWARDS):
  return enumeration.expected_gradient(
    objective_lib.Objective(
      advantage=_bound(advantage),
      token_loss=_bound(losses.reinforce),
      aggregate=aggregate,
    ),
    lambda table: enumeration.fields(table, _SPACE, rewards),
    table,
    enumeration.draws([enumeration.probabilities(table, _SPACE)], samples),
  )


def _climb(table, credits):
  """Gradient of sum_s p(s) c(s), the credits held."""
  credits = jnp.asarray(credits, table.dtype)
  return enumeration.gradient(
    lambda table: jnp.sum(enumeration.probabilities(table, _SPACE) * credits)
  )(table)


def _degrees(estimate, table):
  """The angle to the gradient of the expected reward."""
  exact = _climb(table, _REWARDS)
  return round(math.degrees(math.acos(enumeration.cosine(estimate, exact))), 1)


def test_the_space_holds_completions_of_several_lengths():
  assert sorted(_LENGTHS) == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_constant_length_is_unbiased(precision, length):
  table = precision.array(_TABLE)
  for advantage, samples in (
    (rewards_alone, 1),
    (advantages.rloo_advantages, 2),
  ):
    estimate = _estimate(
      table, advantage, _bound(losses.fixed_length, length=length), samples
    )
    # A length of 0 stands for that of the batch, here 3.
    exact = _climb(table, _REWARDS) / (length or 3)
    enumeration.assert_equal(estimate, exact, precision)


@pytest.mark.parametrize("samples", [1, 2])
def test_the_mean_over_a_response_divides_its_reward_by_its_length(
  precision, samples
):
  table = precision.array(_TABLE)
  estimate = _estimate(
    table, rewards_alone, _bound(losses.sequence_mean), samples
  )
  exact = _climb(table, _REWARDS / _LENGTHS)
  enumeration.assert_equal(estimate, exact, precision)
  assert _degrees(estimate, table) == 30.3


@pytest.mark.parametrize("samples", [2, 3])
def test_the_mean_over_a_response_divides_a_baseline_too(precision, samples):
  table = precision.array(_TABLE)
  estimate = _estimate(
    table, advantages.rloo_advantages, _bound(losses.sequence_mean), samples
  )
  chances = np.asarray(enumeration.probabilities(table, _SPACE))
  credits = (_REWARDS - chances @ _REWARDS) / _LENGTHS
  enumeration.assert_equal(estimate, _climb(table, credits), precision)
  assert _degrees(estimate, table) == 17.0


def _mean_over_company(chances, samples, value):
  """For each completion, the mean of value(s, company) over its company."""
  found = np.zeros(len(chances))
  everyone = range(len(chances))
  for s in everyone:
    for company in itertools.product(everyone, repeat=samples - 1):
      chance = math.prod(float(chances[other]) for other in company)
      found[s] += chance * value(s, list(company))
  return found


@pytest.mark.parametrize("samples, degrees", [(1, 30.3), (2, 20.1), (3, 14.6)])
def test_the_mean_over_tokens_divides_by_the_length_of_the_company(
  precision, samples, degrees
):
  table = precision.array(_TABLE)
  estimate = _estimate(table, rewards_alone, _bound(losses.token_mean), samples)
  credits = samples * _mean_over_company(
    enumeration.probabilities(table, _SPACE),
    samples,
    lambda s, company: _REWARDS[s] / (_LENGTHS[s] + np.sum(_LENGTHS[company])),
  )
  enumeration.assert_equal(estimate, _climb(table, credits), precision)
  assert _degrees(estimate, table) == degrees


@pytest.mark.parametrize("samples, degrees", [(2, 8.5), (3, 6.4)])
def test_the_mean_over_tokens_ties_a_baseline_to_lengths(
  precision, samples, degrees
):
  table = precision.array(_TABLE)
  estimate = _estimate(
    table, advantages.rloo_advantages, _bound(losses.token_mean), samples
  )
  credits = samples * _mean_over_company(
    enumeration.probabilities(table, _SPACE),
    samples,
    lambda s, company: (
      (_REWARDS[s] - np.mean(_REWARDS[company]))
      / (_LENGTHS[s] + np.sum(_LENGTHS[company]))
    ),
  )
  enumeration.assert_equal(estimate, _climb(table, credits), precision)
  assert _degrees(estimate, table) == degrees


def test_equal_rewards_still_move_the_policy_towards_short_answers(precision):
  # With all rewards 1 there is nothing to learn: grad J = 0. Averaged over a
  # response, without a baseline, the policy still climbs E[1 / L].
  table = precision.array(_TABLE)
  ones = np.ones_like(_REWARDS)
  unbiased = _estimate(
    table, rewards_alone, _bound(losses.fixed_length, length=1), 1, ones
  )
  enumeration.assert_equal(
    unbiased, jnp.zeros_like(table), precision, scale=1.0
  )
  biased = _estimate(
    table, rewards_alone, _bound(losses.sequence_mean), 1, ones
  )
  enumeration.assert_equal(biased, _climb(table, 1 / _LENGTHS), precision)
  # The end token gains after either prefix that it can cut short.
  assert np.all(np.asarray(biased)[:2, 0] > 0.01)
