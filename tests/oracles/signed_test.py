"""Verdicts as advantages: what right and wrong samples do to a softmax.

One logit per answer. Raising log p(y) moves logit v by 1[v = y] - p(v).
"""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests.oracles import enumeration

_bound = objective_lib.bound
_SPACE = enumeration.space(vocab_size=5, length=1)
_TABLE = enumeration.random_table(0, _SPACE, 5)
_RIGHT = np.array([0.0, 1.0, 0.0, 0.0, 1.0])
_PSR = dict(positive_weight=1.0, negative_weight=0.0)
_NSR = dict(positive_weight=0.0, negative_weight=1.0)


def rewards_alone(*, rewards):
  return rewards


def _method(advantage):
  return objective_lib.Objective(
    advantage=advantage,
    token_loss=_bound(losses.ppo_clip),
    aggregate=_bound(losses.token_mean),
  )


def _gradient(table, drawn, rewards=_RIGHT, **weights):
  """Expected gradient of signed advantages; REINFORCE without weights."""
  advantage = _bound(rewards_alone)
  if weights:
    advantage = _bound(advantages.signed_advantages, **weights)
  return enumeration.expected_gradient(
    _method(advantage),
    lambda table: enumeration.fields(table, _SPACE, rewards),
    table,
    drawn,
  )


def _draws(table, samples=1):
  return enumeration.draws([enumeration.probabilities(table, _SPACE)], samples)


def test_a_wrong_sample_gives_its_probability_to_all_others_in_proportion(
  precision,
):
  table = precision.array(_TABLE)
  chances = np.asarray(enumeration.probabilities(table, _SPACE))
  for answer in np.flatnonzero(_RIGHT == 0):
    alone = _draws(table)._replace(
      rows=np.array([[answer]]), weights=precision.array([1.0])
    )
    exact = chances.copy()
    exact[answer] = -(1 - chances[answer])
    enumeration.assert_equal(
      _gradient(table, alone, **_NSR)[0], exact, precision
    )


def test_a_right_sample_has_no_gradient_under_nsr_and_a_wrong_one_under_psr(
  precision,
):
  table = precision.array(_TABLE)
  for answer, weights in ((1, _NSR), (0, _PSR)):
    alone = _draws(table)._replace(
      rows=np.array([[answer]]), weights=precision.array([1.0])
    )
    found = _gradient(table, alone, **weights)
    np.testing.assert_array_equal(found, np.zeros_like(_TABLE))


def test_nsr_raises_right_answers_in_proportion_to_their_probability(precision):
  # A right answer gains p(v) P(wrong), a wrong one loses p(v) P(right).
  table = precision.array(_TABLE)
  chances = np.asarray(enumeration.probabilities(table, _SPACE))
  right = chances @ _RIGHT
  exact = chances * np.where(_RIGHT > 0, 1 - right, -right)
  enumeration.assert_equal(
    _gradient(table, _draws(table), **_NSR)[0], exact, precision
  )
  # And PSR has the same gradient of one sample: P(wrong) = 1 - P(right).
  enumeration.assert_equal(
    _gradient(table, _draws(table), **_PSR)[0], exact, precision
  )


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("weights", [_PSR, _NSR], ids=["psr", "nsr"])
def test_dropped_rows_leave_the_denominator(precision, samples, weights):
  # The mean over the kept rows of n is that of one kept row, if any is kept:
  # (1 - (1 - q)^n) / q of the gradient of one sample, q = P(kept).
  table = precision.array(_TABLE)
  kept = _RIGHT if weights is _PSR else 1 - _RIGHT
  share = float(np.asarray(enumeration.probabilities(table, _SPACE)) @ kept)
  factor = (1 - (1 - share) ** samples) / share
  one = _gradient(table, _draws(table), **weights)
  enumeration.assert_equal(
    _gradient(table, _draws(table, samples), **weights),
    factor * one,
    precision,
  )


def test_right_and_wrong_samples_add_up_to_reinforce(precision):
  table = precision.array(_TABLE)
  drawn = _draws(table)
  both = _gradient(table, drawn, **_PSR) + _gradient(table, drawn, **_NSR)
  signs = 2 * _RIGHT - 1
  plain = _gradient(table, drawn, rewards=signs)
  exact = enumeration.gradient(
    lambda table: jnp.sum(
      enumeration.probabilities(table, _SPACE) * precision.array(signs)
    )
  )(table)
  enumeration.assert_equal(plain, exact, precision)
  enumeration.assert_equal(both, exact, precision)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("weight", [1.0, 0.1])
def test_two_weights_are_reinforce_on_rewards_of_their_size(
  precision, weight, samples
):
  # No row is dropped: J = weight * P(right) - P(wrong), at any group size.
  table = precision.array(_TABLE)
  found = _gradient(
    table,
    _draws(table, samples),
    positive_weight=weight,
    negative_weight=1.0,
  )
  rewards = np.where(_RIGHT > 0, weight, -1.0)
  exact = enumeration.gradient(
    lambda table: jnp.sum(
      enumeration.probabilities(table, _SPACE) * precision.array(rewards)
    )
  )(table)
  enumeration.assert_equal(found, exact, precision)
