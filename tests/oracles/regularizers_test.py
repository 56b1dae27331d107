"""Added terms: what their values estimate, and what their gradients climb.

The loss holds nothing else (no advantages), and outcomes are the policy's own
samples. An estimate averages to its divergence as a value and, since samples
are not differentiated, to something else as a gradient.
"""

import functools

import jax.numpy as jnp
import pytest

from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests.oracles import enumeration

_bound = objective_lib.bound
_COEF = 0.3
_SHORT = enumeration.space(vocab_size=5, length=1)
_LONG = enumeration.space(vocab_size=3, length=2, end=0)
_TOKEN_SUM = _bound(losses.fixed_length, length=1)


def _policies(over, precision):
  vocab_size = int(over.tokens.max()) + 1
  return [
    precision.array(enumeration.random_table(seed, over, vocab_size))
    for seed in (0, 1)
  ]


def _method(regularizer):
  return objective_lib.Objective(
    token_loss=_bound(losses.reinforce),
    regularizers=(_bound(regularizer, coef=_COEF),),
    aggregate=_TOKEN_SUM,
  )


def _of(function, regularizer, over, table, reference):
  """Expected loss or gradient, over batches of two, the coefficient undone."""
  found = function(
    _method(regularizer),
    lambda table: enumeration.fields(
      table,
      over,
      jnp.ones(len(over.tokens), table.dtype),
      ref_logprobs=enumeration.logprobs(reference, over),
    ),
    table,
    enumeration.draws([enumeration.probabilities(table, over)], 2),
  )
  return found / _COEF


_divergence_slope = enumeration.gradient(enumeration.divergence)
_reverse_slope = enumeration.gradient(enumeration.divergence, argnums=1)
_expected_loss = functools.partial(_of, enumeration.expected_loss)
_expected_gradient = functools.partial(_of, enumeration.expected_gradient)


def _per_prefix(table, over, value):
  """Sum over prefixes of the chance to meet them now times their value.

  Args:
    table: the present policy, whose prefixes these are.
    over: its completions.
    value: number of a prefix -> what it is worth.
  """
  chances = enumeration.probabilities(table, over)
  total, seen = 0.0, set()
  for row, place in zip(*over.mask.nonzero(), strict=True):
    prefix = over.prefixes[row, place]
    if prefix not in seen:
      seen.add(prefix)
      through = (over.prefixes == prefix) & (over.mask > 0)
      total += jnp.sum(chances[through.any(axis=1)]) * value(prefix)
  return total


def _token_divergence(table, other, prefix):
  ours, theirs = (
    enumeration.conditionals(policy)[prefix] for policy in (table, other)
  )
  return jnp.sum(ours * jnp.log(ours / theirs))


def _token_entropy(table, prefix):
  chances = enumeration.conditionals(table)[prefix]
  return -jnp.sum(chances * jnp.log(chances))


@pytest.mark.parametrize("over", [_SHORT, _LONG], ids=["one token", "two"])
@pytest.mark.parametrize("estimate", [losses.kl_k1, losses.kl_k3])
def test_the_first_and_the_third_estimate_are_unbiased_values(
  precision, over, estimate
):
  table, reference = _policies(over, precision)
  found = _expected_loss(estimate, over, table, reference)
  exact = enumeration.divergence(table, reference, over)
  enumeration.assert_equal(found, exact, precision)


def test_the_second_estimate_is_a_biased_value(precision):
  table, reference = _policies(_SHORT, precision)
  found = _expected_loss(losses.kl_k2, _SHORT, table, reference)
  ours = enumeration.probabilities(table, _SHORT)
  theirs = enumeration.probabilities(reference, _SHORT)
  halves = jnp.sum(ours * jnp.log(ours / theirs) ** 2) / 2
  enumeration.assert_equal(found, halves, precision)
  exact = enumeration.divergence(table, reference, _SHORT)
  assert enumeration.error(found, exact) > 0.05


@pytest.mark.parametrize("over", [_SHORT, _LONG], ids=["one token", "two"])
def test_the_first_estimate_has_no_gradient_at_all(precision, over):
  table, reference = _policies(over, precision)
  found = _expected_gradient(losses.kl_k1, over, table, reference)
  enumeration.assert_equal(found, jnp.zeros_like(table), precision, scale=1.0)


def test_the_second_estimate_descends_the_divergence_to_the_reference(
  precision,
):
  table, reference = _policies(_SHORT, precision)
  found = _expected_gradient(losses.kl_k2, _SHORT, table, reference)
  exact = _divergence_slope(table, reference, _SHORT)
  enumeration.assert_equal(found, -exact, precision)


def test_the_third_estimate_descends_the_divergence_from_the_reference(
  precision,
):
  table, reference = _policies(_SHORT, precision)
  found = _expected_gradient(losses.kl_k3, _SHORT, table, reference)
  reverse = _reverse_slope(reference, table, _SHORT)
  enumeration.assert_equal(found, -reverse, precision)
  exact = _divergence_slope(table, reference, _SHORT)
  assert enumeration.error(found, -exact) > 0.1


@pytest.mark.parametrize("estimate", [losses.kl_k2, losses.kl_k3])
def test_on_longer_completions_prefixes_are_met_and_not_chosen(
  precision, estimate
):
  # Token by token, each prefix as often as it is met now. What a token does to
  # the prefixes of later ones has no gradient; in the reward it has one.
  table, reference = _policies(_LONG, precision)
  found = _expected_gradient(estimate, _LONG, table, reference)

  def descended(moved):
    def value(prefix):
      if estimate is losses.kl_k2:
        return _token_divergence(moved, reference, prefix)
      return _token_divergence(reference, moved, prefix)

    return _per_prefix(table, _LONG, value)

  enumeration.assert_equal(
    found, -enumeration.gradient(descended)(table), precision
  )
  whole = _divergence_slope(table, reference, _LONG)
  assert enumeration.error(found, -whole) > 0.1


@pytest.mark.parametrize("over", [_SHORT, _LONG], ids=["one token", "two"])
def test_the_entropy_bonus_climbs_the_entropy_of_the_prefixes_met(
  precision, over
):
  table, reference = _policies(over, precision)
  climbed = lambda moved: _per_prefix(
    table, over, lambda prefix: _token_entropy(moved, prefix)
  )
  loss = _expected_loss(losses.entropy_bonus, over, table, reference)
  enumeration.assert_equal(loss, -climbed(table), precision)
  found = _expected_gradient(losses.entropy_bonus, over, table, reference)
  enumeration.assert_equal(
    found, enumeration.gradient(climbed)(table), precision
  )


def test_one_token_has_the_entropy_of_its_policy(precision):
  table, reference = _policies(_SHORT, precision)
  entropy = lambda table: (
    -jnp.sum(
      enumeration.probabilities(table, _SHORT)
      * jnp.log(enumeration.probabilities(table, _SHORT))
    )
  )
  loss = _expected_loss(losses.entropy_bonus, _SHORT, table, reference)
  enumeration.assert_equal(loss, -entropy(table), precision)
  found = _expected_gradient(losses.entropy_bonus, _SHORT, table, reference)
  enumeration.assert_equal(
    found, enumeration.gradient(entropy)(table), precision
  )
