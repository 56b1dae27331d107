"""Ratios: what they correct exactly, and what they climb otherwise.

The sampler's probabilities weigh the outcomes, and the gradient is taken at
another policy. On completions of one token a ratio is exact importance
sampling; on longer ones a ratio per token corrects each token given its
prefix, not the prefix.
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from tests.oracles import enumeration

_bound = objective_lib.bound
_WIDE = dict(clip_low=math.inf, clip_high=math.inf)
# Five completions of one token, and fifteen of one to three tokens.
_SHORT = enumeration.space(vocab_size=5, length=1)
_LONG = enumeration.space(vocab_size=3, length=3, end=0)
_TOKEN_SUM = _bound(losses.fixed_length, length=1)


def rewards_alone(*, rewards):
  return rewards


def _policies(over, precision, number=3):
  vocab_size = int(over.tokens.max()) + 1
  return [
    precision.array(enumeration.random_table(seed, over, vocab_size))
    for seed in range(number)
  ]


def _rewards(over):
  """Of both signs, as credit is."""
  return np.random.default_rng(9).normal(size=len(over.tokens))


def _method(loss, aggregate=_TOKEN_SUM, **changes):
  return objective_lib.Objective(
    **{"advantage": _bound(rewards_alone)} | changes,
    token_loss=loss,
    aggregate=aggregate,
  )


def _estimate(method, over, table, sampler, samples=1, **frozen):
  """Expected gradient at `table` of completions drawn from `sampler`."""
  return enumeration.expected_gradient(
    method,
    lambda table: enumeration.fields(table, over, _rewards(over), **frozen),
    table,
    enumeration.draws([enumeration.probabilities(sampler, over)], samples),
  )


def _value(table, over):
  chances = enumeration.probabilities(table, over)
  return jnp.sum(chances * _like(table, _rewards(over)))


def _like(table, values):
  return jnp.asarray(values, table.dtype)


_exact = enumeration.gradient(_value)
_WIDE_LOSSES = {
  "ppo_clip": _bound(losses.ppo_clip, **_WIDE),
  "gspo": _bound(losses.gspo, **_WIDE),
  "cispo": _bound(losses.cispo, **_WIDE),
  "kl_cov": _bound(losses.kl_cov, kl_cov_coef=0.0),
}


@pytest.mark.parametrize("name", _WIDE_LOSSES)
def test_an_unclipped_ratio_is_exact_on_completions_of_one_token(
  precision, name
):
  table, old, _ = _policies(_SHORT, precision)
  frozen = dict(
    old_logprobs=enumeration.logprobs(old, _SHORT),
    kl_cov_tokens=jnp.ones_like(enumeration.logprobs(old, _SHORT)),
  )
  estimate = _estimate(
    _method(_WIDE_LOSSES[name]), _SHORT, table, old, **frozen
  )
  exact = _exact(table, _SHORT)
  enumeration.assert_equal(estimate, exact, precision)
  # The correction matters: without it the gradient is another one.
  plain = _estimate(
    _method(_bound(losses.reinforce)), _SHORT, table, old, **frozen
  )
  assert enumeration.error(plain, exact) > 0.1


def test_an_unclipped_ratio_keeps_leave_one_out_unbiased(precision):
  # The baseline is the mean reward of the old policy: any constant will do.
  table, old, _ = _policies(_SHORT, precision)
  method = _method(
    _bound(losses.ppo_clip, **_WIDE),
    advantage=_bound(advantages.rloo_advantages),
  )
  estimate = _estimate(
    method,
    _SHORT,
    table,
    old,
    samples=2,
    old_logprobs=enumeration.logprobs(old, _SHORT),
  )
  enumeration.assert_equal(estimate, _exact(table, _SHORT), precision)


def _clipped(ratio, low, high):
  return jnp.minimum(jnp.maximum(ratio, 1 - low), 1 + high)


@pytest.mark.parametrize("dual_clip", [0.0, 1.5])
def test_a_clipped_ratio_climbs_the_clipped_objective(precision, dual_clip):
  # E_old[min(ratio r, clip(ratio) r)], where r < 0 at least dual_clip * r.
  table, old, _ = _policies(_SHORT, precision)
  method = _method(
    _bound(losses.ppo_clip, clip_low=0.1, clip_high=0.3, dual_clip=dual_clip)
  )
  estimate = _estimate(
    method,
    _SHORT,
    table,
    old,
    old_logprobs=enumeration.logprobs(old, _SHORT),
  )
  rewards = _like(table, _rewards(_SHORT))
  chances = enumeration.probabilities(old, _SHORT)

  def climbed(table):
    ratio = enumeration.probabilities(table, _SHORT) / chances
    gain = jnp.where(
      rewards > 0,
      jnp.minimum(ratio, 1.3) * rewards,
      jnp.maximum(ratio, 0.9) * rewards,
    )
    if dual_clip:
      gain = jnp.where(
        rewards < 0, jnp.maximum(gain, dual_clip * rewards), gain
      )
    return jnp.sum(chances * gain)

  exact = enumeration.gradient(climbed)(table)
  enumeration.assert_equal(estimate, exact, precision)
  assert enumeration.error(_exact(table, _SHORT), exact) > 0.1


def test_cispo_is_reinforce_weighted_by_the_ratio_of_each_token(precision):
  # E_old[sum_t sg(ratio_t) r grad log p_t], the weights clipped from above.
  table, old, _ = _policies(_LONG, precision)
  old_logprobs = enumeration.logprobs(old, _LONG)
  rewards = _like(table, _rewards(_LONG))[:, None]
  chances = enumeration.probabilities(old, _LONG)[:, None]
  ratio = enumeration.steps(table, _LONG) / enumeration.steps(old, _LONG)
  mask = _like(table, _LONG.mask)
  for high in (math.inf, 0.3):
    method = _method(_bound(losses.cispo, clip_high=high))
    estimate = _estimate(method, _LONG, table, old, old_logprobs=old_logprobs)
    weights = jnp.minimum(ratio, 1 + high) * rewards * chances * mask
    exact = enumeration.gradient(
      lambda table, weights=weights: jnp.sum(
        weights * jnp.log(enumeration.steps(table, _LONG))
      )
    )(table)
    enumeration.assert_equal(estimate, exact, precision)


def test_the_unclipped_surrogate_has_the_gradient_of_unclipped_cispo(precision):
  table, old, _ = _policies(_LONG, precision)
  frozen = dict(old_logprobs=enumeration.logprobs(old, _LONG))
  of = lambda loss: _estimate(_method(loss), _LONG, table, old, **frozen)
  first = of(_WIDE_LOSSES["ppo_clip"])
  enumeration.assert_equal(first, of(_WIDE_LOSSES["cispo"]), precision)
  # A ratio per token is not the ratio of the completion.
  exact = _exact(table, _LONG)
  assert enumeration.error(first, exact) > 0.1


def test_gspo_at_a_first_update_is_reinforce_with_a_mean_over_responses(
  precision,
):
  # Outcome by outcome: the equality holds under weights that are nobody's
  # probabilities, too.
  table, _, _ = _policies(_LONG, precision)
  num_rows = len(_LONG.tokens)
  weights = precision.array(np.random.default_rng(4).normal(size=num_rows**2))
  drawn = enumeration.draws([precision.array(np.ones(num_rows))], 2)
  of = lambda loss: enumeration.expected_gradient(
    _method(
      loss,
      _bound(losses.sequence_mean),
      advantage=_bound(advantages.rloo_advantages),
    ),
    lambda table: enumeration.fields(table, _LONG, _rewards(_LONG)),
    table,
    drawn._replace(weights=weights),
  )
  enumeration.assert_equal(
    of(_bound(losses.gspo)), of(_bound(losses.reinforce)), precision
  )


@pytest.mark.parametrize(
  "widths", [_WIDE, dict(clip_low=0.1, clip_high=0.2)], ids=["wide", "narrow"]
)
def test_gspo_climbs_the_ratio_of_whole_completions(precision, widths):
  # E_old[min(s r, clip(s) r)] with s = (p(y) / p_old(y)) ^ (1 / L).
  table, old, _ = _policies(_LONG, precision)
  estimate = _estimate(
    _method(_bound(losses.gspo, **widths), _bound(losses.sequence_mean)),
    _LONG,
    table,
    old,
    old_logprobs=enumeration.logprobs(old, _LONG),
  )
  rewards = _like(table, _rewards(_LONG))
  chances = enumeration.probabilities(old, _LONG)

  def climbed(table):
    ratio = (enumeration.probabilities(table, _LONG) / chances) ** _like(
      table, 1 / _LONG.lengths
    )
    bounded = _clipped(ratio, widths["clip_low"], widths["clip_high"])
    return jnp.sum(chances * jnp.minimum(ratio * rewards, bounded * rewards))

  exact = enumeration.gradient(climbed)(table)
  enumeration.assert_equal(estimate, exact, precision)
  assert enumeration.error(_exact(table, _LONG), exact) > 0.1


def _corrected(cap, loss=None):
  return _method(
    loss or _bound(losses.ppo_clip),
    behavior=(_bound(losses.truncated_importance, cap=cap),),
  )


def test_importance_weights_undo_another_sampler(precision):
  # One token, no cap, first update: E_sampler[weight * grad] = grad J.
  table, sampler, _ = _policies(_SHORT, precision)
  frozen = dict(sampler_logprobs=enumeration.logprobs(sampler, _SHORT))
  estimate = _estimate(_corrected(math.inf), _SHORT, table, sampler, **frozen)
  exact = _exact(table, _SHORT)
  enumeration.assert_equal(estimate, exact, precision)
  plain = _estimate(_method(_bound(losses.ppo_clip)), _SHORT, table, sampler)
  assert enumeration.error(plain, exact) > 0.1


def test_importance_weights_and_ratio_multiply_at_later_updates(precision):
  # Sampler, policy at rollout time, current policy: all three differ.
  table, old, sampler = _policies(_SHORT, precision)
  estimate = _estimate(
    _corrected(math.inf, _bound(losses.ppo_clip, **_WIDE)),
    _SHORT,
    table,
    sampler,
    old_logprobs=enumeration.logprobs(old, _SHORT),
    sampler_logprobs=enumeration.logprobs(sampler, _SHORT),
  )
  enumeration.assert_equal(estimate, _exact(table, _SHORT), precision)


def test_capped_weights_climb_the_truncated_objective(precision):
  # sum_a sampler(a) min(old(a) / sampler(a), cap) p(a) / old(a) r(a).
  table, old, sampler = _policies(_SHORT, precision)
  estimate = _estimate(
    _corrected(0.9, _bound(losses.ppo_clip, **_WIDE)),
    _SHORT,
    table,
    sampler,
    old_logprobs=enumeration.logprobs(old, _SHORT),
    sampler_logprobs=enumeration.logprobs(sampler, _SHORT),
  )
  rewards = _like(table, _rewards(_SHORT))
  before, drawn = (
    enumeration.probabilities(policy, _SHORT) for policy in (old, sampler)
  )
  weights = jnp.minimum(before / drawn, 0.9) * drawn / before * rewards
  exact = enumeration.gradient(
    lambda table: jnp.sum(weights * enumeration.probabilities(table, _SHORT))
  )(table)
  enumeration.assert_equal(estimate, exact, precision)
  assert enumeration.error(_exact(table, _SHORT), exact) > 0.1


def test_a_weight_per_token_leaves_the_prefix_to_the_sampler(precision):
  # On longer completions: prefixes come from the sampler, and so does what
  # follows; the token in between is the trainer's. Not grad J.
  table, sampler, _ = _policies(_LONG, precision)
  estimate = _estimate(
    _corrected(math.inf),
    _LONG,
    table,
    sampler,
    sampler_logprobs=enumeration.logprobs(sampler, _LONG),
  )
  rewards = _like(table, _rewards(_LONG))
  theirs = enumeration.steps(sampler, _LONG)

  def climbed(table):
    ours = enumeration.steps(table, _LONG)
    total = 0.0
    for token in range(_LONG.tokens.shape[1]):
      mixed = theirs.at[:, token].set(ours[:, token])
      total += jnp.sum(jnp.prod(mixed, axis=1) * rewards)
    return total

  exact = enumeration.gradient(climbed)(table)
  enumeration.assert_equal(estimate, exact, precision)
  assert enumeration.error(_exact(table, _LONG), exact) > 0.1
