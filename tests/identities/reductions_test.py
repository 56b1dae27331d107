"""Where one added term, reduction or loss per response is another."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from rlvr_jax import token_weights
from rlvr_jax.losses.trajectory_balance import PRESETS
from tests import batches
from tests.identities import comparison

_bound = objective_lib.bound
_GRPO = batches.GRPO
_assert_same = comparison.assert_same
_value_and_gradients = comparison.value_and_gradients


# --------------------------------------------------------------- regularizers


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


# ----------------------------------------------------------------- aggregates


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


# --------------------------------------------------------- trajectory balance


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
