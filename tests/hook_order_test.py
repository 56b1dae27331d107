"""Hooks in the order of their use: frozen once, live at every update."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from tests import batches
from tests import testing

_bound = objective_lib.bound


def user_field(*, frozen_entropies, logprobs, scale=1.0):
  """A derived field that looks at the current policy."""
  return scale * frozen_entropies + 0.0 * logprobs


# ----------------------------------------------------------- order of hooks


def plus_one(*, rewards):
  return rewards + 1.0


def times_two(*, rewards):
  return 2.0 * rewards


def times_derived(*, rewards, row_numbers):
  return rewards * row_numbers


def row_numbers(*, completion_mask):
  return jnp.arange(1.0, 1.0 + completion_mask.shape[0])


def reward_signs(*, advantages):
  return jnp.sign(advantages)


def without_first_row(*, rewards):
  return rewards.at[:].set(1.0).at[0].set(0.0)


def keep_rewarded(*, rewards):
  return (rewards > 0).astype(rewards.dtype)


def keep_correct(*, is_correct):
  return is_correct


def advantage_and_keep(*, rewards):
  return rewards, without_first_row(rewards=rewards)


_PLAIN = objective_lib.Objective(
  advantage=_bound(batches.plain_rewards), token_loss=_bound(losses.reinforce)
)
# Four rows of one token.
_ROWS = {
  "completion_mask": jnp.ones((4, 1)),
  "valid": jnp.ones(4),
  "rewards": jnp.asarray([1.0, 0.0, 1.0, 0.0]),
  "is_correct": jnp.asarray([1.0, 1.0, 0.0, 0.0]),
  "logprobs": -jnp.asarray([[1.0], [2.0], [3.0], [4.0]]),
  "old_logprobs": -jnp.asarray([[1.0], [2.0], [3.0], [4.0]]),
  "frozen_entropies": jnp.asarray([[1.0], [2.0], [3.0], [4.0]]),
  "entropies": jnp.asarray([[4.0], [3.0], [2.0], [1.0]]),
}


def _assigned(fields=_ROWS, **changes):
  return credit.assign_credit(_PLAIN._replace(**changes), fields)


@pytest.mark.parametrize(
  "shapings, expected",
  [
    ((plus_one, times_two), [4.0, 2.0, 4.0, 2.0]),
    ((times_two, plus_one), [3.0, 1.0, 3.0, 1.0]),
  ],
)
def test_rewards_are_shaped_in_order_and_before_the_advantage(
  shapings, expected
):
  found = _assigned(reward_shaping=tuple(map(_bound, shapings)))
  assert found["rewards"].tolist() == expected
  assert found["advantages"].tolist() == expected


def test_shaping_acts_before_the_deviation_is_taken():
  # Rewards 1, 0, 1, 0 in one group; doubled, their deviation doubles too.
  fields = _ROWS | {"group_ids": jnp.zeros(4, jnp.int32)}
  grpo = _bound(advantages.grpo_advantages, epsilon=0.0)
  plain = _assigned(fields, advantage=grpo)["advantages"]
  shaped = _assigned(
    fields, advantage=grpo, reward_shaping=(_bound(times_two),)
  )["advantages"]
  np.testing.assert_allclose(shaped, plain, rtol=1e-6)


def test_derived_fields_are_there_before_rewards_are_shaped():
  found = _assigned(
    derived=(_bound(row_numbers),), reward_shaping=(_bound(times_derived),)
  )
  assert found["rewards"].tolist() == [1.0, 0.0, 3.0, 0.0]
  assert found["row_numbers"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_derived_fields_that_name_credit_wait_for_it():
  found = _assigned(
    derived=(_bound(reward_signs),), reward_shaping=(_bound(minus_one),)
  )
  assert found["reward_signs"].tolist() == [0.0, -1.0, 0.0, -1.0]


def minus_one(*, rewards):
  return rewards - 1.0


def test_filters_see_shaped_rewards_and_unshaped_verdicts():
  shaping = (_bound(minus_one),)
  rewarded = _assigned(reward_shaping=shaping, filters=(_bound(keep_rewarded),))
  assert rewarded["completion_mask"].ravel().tolist() == [0.0] * 4
  correct = _assigned(reward_shaping=shaping, filters=(_bound(keep_correct),))
  assert correct["completion_mask"].ravel().tolist() == [1.0, 1.0, 0.0, 0.0]


def test_filters_and_the_advantages_own_choice_multiply():
  found = _assigned(
    advantage=_bound(advantage_and_keep), filters=(_bound(keep_correct),)
  )
  for name in ("completion_mask", "loss_mask"):
    assert found[name].ravel().tolist() == [0.0, 1.0, 0.0, 0.0]


def test_an_objective_without_advantage_has_credit_zero():
  found = _assigned(advantage=None)
  assert found["advantages"].tolist() == [0.0] * 4
  assert found["token_advantages"].shape == (4, 1)


# ------------------------------------------------------- frozen and live


def frozen_weight(*, frozen_entropies):
  return token_weights.TokenShape(weight=frozen_entropies)


def live_weight(*, entropies):
  return token_weights.TokenShape(weight=entropies)


def test_frozen_weights_wait_for_nothing_and_live_ones_for_the_policy():
  method = _PLAIN._replace(
    advantage=_bound(plus_one),
    token_weights=(_bound(frozen_weight), _bound(live_weight)),
  )
  assigned = credit.assign_credit(method, _ROWS)
  # Advantages 2, 1, 2, 1 times 1, 2, 3, 4; then times 4, 3, 2, 1.
  assert assigned["token_advantages"].ravel().tolist() == [2.0, 2.0, 6.0, 4.0]
  refined = credit.refine_credit(method, assigned)
  assert refined["token_advantages"].ravel().tolist() == [8.0, 6.0, 12.0, 4.0]
  # At the next update the policy has moved: refined anew, from the same.
  moved = assigned | {"entropies": jnp.ones((4, 1))}
  again = credit.refine_credit(method, moved)
  assert again["token_advantages"].ravel().tolist() == [2.0, 2.0, 6.0, 4.0]


def test_what_names_no_live_field_is_not_refined():
  method = _PLAIN._replace(token_weights=(_bound(frozen_weight),))
  assert not credit.is_refined(method)
  assigned = credit.assign_credit(method, _ROWS)
  assert credit.refine_credit(method, assigned) is assigned
  assert credit.is_refined(
    _PLAIN._replace(token_weights=(_bound(live_weight),))
  )
  assert credit.is_refined(_PLAIN._replace(derived=(_bound(user_field),)))


def test_a_live_derived_field_is_filled_at_each_update():
  method = _PLAIN._replace(
    derived=(_bound(user_field, scale=2.0), _bound(row_numbers)),
    token_loss=_bound(of_user_field),
  )
  assigned = credit.assign_credit(method, _ROWS)
  assert "user_field" not in assigned
  assert "row_numbers" in assigned
  refined = credit.refine_credit(method, assigned)
  assert refined["user_field"].ravel().tolist() == [2.0, 4.0, 6.0, 8.0]
  assert refined["row_numbers"].tolist() == [1.0, 2.0, 3.0, 4.0]
  assert credit.whole_loss(method, _ROWS)[0] == 5.0


def of_user_field(*, logprobs, user_field):
  return user_field + 0.0 * logprobs


def test_who_reads_the_old_policy_before_the_first_update():
  needs = lambda **changes: credit.needs_old_logprobs(
    _PLAIN._replace(**changes)
  )
  assert not needs(token_loss=_bound(losses.ppo_clip))
  assert needs(reward_shaping=(_bound(of_old),))
  assert needs(derived=(_bound(of_old),))
  # A live weight is computed at the update, where the old policy is known.
  assert not needs(token_weights=(_bound(token_weights.steer_weights),))


def of_old(*, rewards, old_logprobs):
  return rewards + jnp.sum(old_logprobs, axis=1)


# ------------------------------------------------------ losses per response


def test_a_loss_per_response_is_averaged_over_responses():
  method = objective_lib.Objective(
    sequence_loss=_bound(testing.mean_logprob), filters=(_bound(keep_correct),)
  )
  # Rows 0 and 1 are kept: (1 + 2) / 2.
  loss, terms = credit.whole_loss(method, _ROWS)
  assert (loss, terms["policy"].count) == (1.5, 2.0)


def test_a_loss_per_response_has_the_gradient_of_a_sequence_mean():
  fields = batches.fields()
  by_response = objective_lib.Objective(
    sequence_loss=_bound(testing.mean_logprob)
  )
  by_token = objective_lib.Objective(
    token_loss=_bound(losses.negative_log_likelihood),
    aggregate=_bound(losses.sequence_mean),
  )
  np.testing.assert_allclose(
    batches.gradient(by_response, fields),
    batches.gradient(by_token, fields),
    rtol=1e-6,
  )
