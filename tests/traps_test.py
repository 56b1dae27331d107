"""Traps that others fell into, each as a regression test.

Those of means and their denominators are in `traps_of_means_test.py`. The
comment above a test names the trap and where it was seen.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import errors
from rlvr_jax import hooks
from rlvr_jax import losses
from rlvr_jax import names
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from rlvr_jax.rewards import shaping
from tests import batches
from tests import testing

_bound = objective_lib.bound
_GRPO = batches.GRPO
_loss = credit.whole_loss


# ------------------------------------------------------------ units, signs


# Later copies of KL-Cov read the released percentage as a fraction (verl).
def test_the_share_of_kl_cov_is_a_fraction_and_no_percentage():
  logprobs = -jax.random.uniform(jax.random.key(0), (10, 100))
  credits = jax.random.normal(jax.random.key(1), (10, 100))
  chosen = lambda **settings: jnp.sum(
    derived.kl_cov_tokens(
      logprobs=logprobs,
      token_advantages=credits,
      completion_mask=jnp.ones_like(logprobs),
      **settings,
    )
  )
  # The script's 0.2 percent of 1,000 tokens are 2, not 200.
  assert chosen() == 2.0
  assert chosen(select_frac=0.2) == 200.0


# HICRA's formula softens a penalty; accounts of it say that it sharpens.
def test_planning_tokens_of_a_wrong_answer_are_punished_less():
  found = token_weights.hicra_weights(
    token_advantages=testing.floats([[-1.0, -1.0]]),
    planning_tokens=testing.floats([[1.0, 0.0]]),
  )
  credits = -1.0 * found.weight + found.bonus
  np.testing.assert_allclose(credits, [[-0.8, -1.0]], rtol=1e-6)


# STEER: the entropy is that of the full vocabulary; on an even two-way split
# ln(1/2) + H = 0, so the token keeps its full weight.
def test_steer_with_a_truncated_entropy_is_another_method():
  logprobs = jnp.log(testing.floats([[0.5, 0.5, 0.1]]))
  weight = lambda entropy: token_weights.steer_weights(
    logprobs=logprobs,
    old_logprobs=logprobs,
    entropies=testing.floats([[entropy, 0.693147, 0.325083]]),
    token_advantages=jnp.ones((1, 3)),
    completion_mask=jnp.ones((1, 3)),
  ).weight[0, 0]
  np.testing.assert_allclose(weight(0.693147), 1.2, rtol=1e-6)
  # Omega is now 0.5 * |0.3 - 0.693147| = 0.196574, between 0 and 1.77975.
  np.testing.assert_allclose(
    weight(0.3), 1.2 - 0.4 * 0.196574 / 1.77975, rtol=1e-5
  )


# "My loss is 0, is it broken?" (trl#3452, open-r1#239): at ratio 1 the value
# of a group-relative loss says nothing, its gradient everything.
def test_a_loss_of_zero_has_a_gradient():
  fields = batches.by_length([2, 2], rewards=[1.0, 0.0])
  loss, _ = _loss(_GRPO, fields)
  np.testing.assert_allclose(loss, 0.0, atol=1e-7)
  # -A / 4 tokens with A = +-0.7071.
  np.testing.assert_allclose(
    batches.gradient(_GRPO, fields),
    np.outer([-1, 1], [0.176777] * 2),
    rtol=1e-5,
  )


# The float32 mean of three rewards of 0.9 is one rounding away from 0.9: over
# a deviation as small and 1e-6 it would be an advantage.
def test_rounding_is_not_blown_up_by_a_small_deviation():
  fields = batches.fields()
  for value in (0.9, 0.1, -0.7):
    equal = fields | {"rewards": jnp.full_like(fields["rewards"], value)}
    gradient = batches.gradient(_GRPO, equal)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


# ------------------------------------------------------------ missing fields


# Missing log-probabilities became 0.0, "probability 1" (NeMo-RL#4218).
@pytest.mark.parametrize(
  "name, method",
  [
    ("old_logprobs", _GRPO),
    ("rewards", _GRPO),
    ("valid", _GRPO),
    ("ref_logprobs", _GRPO._replace(regularizers=(_bound(losses.kl_k3),))),
    (
      "sampler_logprobs",
      _GRPO._replace(behavior=(_bound(losses.truncated_importance),)),
    ),
    (
      "entropies",
      _GRPO._replace(token_weights=(_bound(token_weights.forking_token_mask),)),
    ),
    (
      "is_correct",
      _GRPO._replace(filters=(_bound(advantages.mixed_groups),)),
    ),
    (
      "kl_cov_tokens",
      _GRPO._replace(token_loss=_bound(losses.kl_cov)),
    ),
  ],
)
def test_a_missing_field_is_an_error_that_names_it(name, method):
  fields = batches.fields()
  fields.pop(name, None)
  with pytest.raises((KeyError, errors.UserError)) as caught:
    _loss(method, fields)
  assert name in str(caught.value)


# A reward that could not be computed is no reward of 0 (MaxText's pool).
def test_a_row_that_was_not_judged_does_not_lower_its_group():
  rewards = dict(rewards=[1.0, 0.0, 1.0, 0.0])
  fields = batches.by_length([1, 1, 1, 1], **rewards)
  fields |= {"group_ids": jnp.zeros(4, jnp.int32)}
  method = _GRPO._replace(advantage=_bound(advantages.dr_grpo_advantages))
  unjudged = fields | {"valid": testing.floats([1.0, 1.0, 1.0, 0.0])}
  found = lambda x: credit.assign_credit(method, x)["advantages"].tolist()
  assert found(fields) == [0.5, -0.5, 0.5, -0.5]
  np.testing.assert_allclose(
    found(unjudged), [1 / 3, -2 / 3, 1 / 3, 0.0], rtol=1e-6
  )
  assert _loss(method, unjudged)[1]["policy"].count == 3.0


# ---------------------------------------------------- what a selector may see


# TW-GRPO's released code lets gradients into its weights.
_SELECTORS = [
  function
  for hook in ("token_weights", "derived")
  for module in hooks.ROOMS[hook]
  for function in names.public_functions(module).values()
  # The rest of its module are losses, which a config may also derive.
  if module is not hooks.trajectory_balance or function is losses.vargrad_log_z
]


_SETTINGS = {
  "segment_ids": dict(separator_ids=(4, 5)),
  "planning_tokens": dict(phrases=((4,), (5, 6))),
  "clip_cov_tokens": dict(select_frac=1.0, cov_low=-0.3, cov_high=0.3),
}


@pytest.mark.parametrize("function", _SELECTORS, ids=lambda f: f.__name__)
def test_selectors_pass_no_gradient_to_the_policy(function):
  fields = batches.credited_fields()
  part = _bound(function, **_SETTINGS.get(function.__name__, {}))

  def total(live):
    leaves = map(jnp.asarray, jax.tree.leaves(part(fields | live)))
    floats = [x for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)]
    return sum(map(jnp.sum, floats), 0.0)

  live = {name: fields[name] for name in credit.LIVE_FIELDS}
  for name, gradient in jax.jit(jax.grad(total))(live).items():
    np.testing.assert_array_equal(
      gradient, jnp.zeros_like(gradient), err_msg=name
    )


def test_credit_is_a_constant_of_the_gradient():
  method = objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    token_weights=(
      _bound(token_weights.steer_weights),
      _bound(token_weights.forking_token_mask, keep_frac=0.5),
    ),
    derived=(_bound(derived.kl_cov_tokens, select_frac=0.2),),
    token_loss=_bound(losses.kl_cov),
  )
  fields = batches.fields()
  refined = credit.refine_credit(method, credit.assign_credit(method, fields))
  counts = credit.counts(method, refined)

  def frozen(logprobs):
    live = {"logprobs": logprobs}
    return credit.loss_and_terms(method, refined | live, counts)[0]

  np.testing.assert_allclose(
    batches.gradient(method, fields),
    jax.jit(jax.grad(frozen))(fields["logprobs"]),
    rtol=1e-5,
    atol=1e-7,
  )
  np.testing.assert_array_equal(
    batches.gradient(method, fields, "entropies"), jnp.zeros((12, 6))
  )


# ------------------------------------------------- filters and shaped rewards


# Shaping lends variance to a group whose answers are all alike; dynamic
# filtering has to look at the verifier's bit.
def test_filters_look_at_verdicts_and_not_at_shaped_rewards():
  method = _GRPO._replace(
    reward_shaping=(
      _bound(shaping.overlong_penalty, max_tokens=4, buffer_tokens=2),
    ),
    filters=(_bound(advantages.mixed_groups),),
  )
  # Group 0 is all right, but one answer is too long; group 1 is mixed.
  verdicts = [1.0, 1.0, 1.0, 0.0]
  fields = batches.by_length(
    [2, 4, 1, 1], rewards=verdicts, is_correct=verdicts
  )
  found = credit.assign_credit(method, fields)
  assert found["rewards"].tolist() == [1.0, 0.0, 1.0, 0.0]
  assert jnp.all(found["advantages"] != 0.0)
  assert found["completion_mask"].sum(axis=1).tolist() == [0.0, 0.0, 1.0, 1.0]
  # Equal shaped rewards in a mixed group: it stays, and teaches nothing.
  fields |= {"rewards": jnp.zeros(4)}
  kept = credit.assign_credit(method._replace(reward_shaping=()), fields)
  assert kept["completion_mask"].sum(axis=1).tolist() == [0.0, 0.0, 1.0, 1.0]
  assert kept["advantages"].tolist() == [0.0] * 4


_MULTIPLIERS = [
  (),
  (_bound(token_weights.forking_token_mask, keep_frac=0.5),),
  (_bound(token_weights.steer_weights),),
  (_bound(token_weights.hicra_weights),),
]


# A method that multiplies the advantage cannot teach a group of equal
# rewards; one that adds to it can.
@pytest.mark.parametrize(
  "parts", _MULTIPLIERS, ids=["plain", "forking", "steer", "hicra"]
)
@pytest.mark.parametrize(
  "advantage",
  [
    advantages.grpo_advantages,
    advantages.dr_grpo_advantages,
    advantages.rloo_advantages,
  ],
)
def test_what_multiplies_teaches_equal_groups_exactly_nothing(parts, advantage):
  method = _GRPO._replace(
    advantage=_bound(advantage),
    token_weights=parts,
    derived=(_bound(derived.planning_tokens, phrases=((4,), (5,))),),
  )
  fields = batches.fields()
  # The first group is all right and stands beside mixed ones.
  fields |= {"rewards": fields["rewards"].at[:3].set(0.9)}
  gradient = batches.gradient(method, fields)
  np.testing.assert_array_equal(gradient[:3], jnp.zeros_like(gradient[:3]))
  assert jnp.any(gradient[3:] != 0.0)


def test_what_adds_teaches_equal_groups_something():
  method = _GRPO._replace(
    token_weights=(_bound(token_weights.empg_weights),),
    derived=(_bound(derived.segment_ids, separator_ids=(4, 5, 6)),),
  )
  fields = batches.fields()
  fields |= {"rewards": jnp.ones_like(fields["rewards"])}
  assert jnp.any(batches.gradient(method, fields) != 0.0)
