"""Credit and loss: order of hooks, masks, inert padding, equal parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import credit
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import records
from rlvr_jax import token_weights
from tests import batches
from tests import testing

_bound = objective_lib.bound
_GRPO = batches.GRPO


def _fields(**changes):
  batch = testing.rollout_batch(**changes)
  fields = records.fields(batch)
  live = fields["sampler_logprobs"] - 0.1
  return fields | {
    "logprobs": live,
    "old_logprobs": fields["sampler_logprobs"],
    "entropies": fields["frozen_entropies"],
  }


_loss = credit.whole_loss


def halve(*, frozen_entropies):
  return token_weights.TokenShape(weight=jnp.full_like(frozen_entropies, 0.5))


def add_one(*, frozen_entropies):
  return token_weights.TokenShape(bonus=jnp.ones_like(frozen_entropies))


def first_token(*, completion_mask):
  first = jnp.arange(completion_mask.shape[1])[None] == 0
  return token_weights.TokenShape(
    mask=jnp.broadcast_to(first, completion_mask.shape).astype(jnp.float32)
  )


def live_entropy(*, entropies):
  return token_weights.TokenShape(weight=entropies)


def entropy_term(*, entropies):
  return -entropies


def test_advantages_reach_every_token():
  fields = credit.assign_credit(_GRPO, _fields())
  np.testing.assert_array_equal(
    fields["token_advantages"],
    np.tile(np.asarray(fields["advantages"])[:, None], (1, 6)),
  )
  np.testing.assert_array_equal(fields["loss_mask"], fields["completion_mask"])


def test_weights_multiply_bonuses_add_in_the_order_given():
  plain = credit.assign_credit(_GRPO, _fields())["token_advantages"]
  shaped = lambda *weights: credit.assign_credit(
    _GRPO._replace(token_weights=tuple(map(_bound, weights))), _fields()
  )["token_advantages"]
  np.testing.assert_allclose(shaped(halve, add_one), plain * 0.5 + 1.0)
  np.testing.assert_allclose(shaped(add_one, halve), (plain + 1.0) * 0.5)


def test_a_mask_lowers_the_numerator_alone():
  fields = _fields()
  masked = _GRPO._replace(token_weights=(_bound(first_token),))
  _, terms = _loss(masked, fields)
  assert terms["policy"].count == fields["completion_mask"].sum()
  kept = _GRPO._replace(
    token_weights=(_bound(first_token),),
    aggregate=_bound(losses.token_mean, over_kept=True),
  )
  _, terms = _loss(kept, fields)
  assert terms["policy"].count == len(fields["rewards"])


def test_rows_that_were_not_judged_are_neither_summed_nor_counted():
  fields = _fields(num_prompts=3, samples=3)
  valid = fields["valid"].at[4].set(0.0)
  with_junk = fields | {
    "valid": valid,
    "rewards": fields["rewards"].at[4].set(jnp.nan),
  }
  without = jax.tree.map(lambda x: jnp.delete(x, 4, axis=0), fields)
  np.testing.assert_allclose(
    _loss(_GRPO, with_junk)[0], _loss(_GRPO, without)[0], rtol=1e-6
  )


def test_a_live_weight_is_frozen_inside_the_loss():
  method = _GRPO._replace(token_weights=(_bound(live_entropy),))
  fields = _fields()
  value = lambda e: _loss(method, fields | {"entropies": e})[0]
  gradient = jax.grad(value)(fields["entropies"])
  np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))
  doubled = fields | {"entropies": 2.0 * fields["entropies"]}
  np.testing.assert_allclose(
    _loss(method, doubled)[0], 2.0 * _loss(method, fields)[0], rtol=1e-5
  )


def test_a_regularizer_adds_with_its_coefficient_and_its_gradient():
  fields = _fields()
  method = _GRPO._replace(regularizers=(_bound(entropy_term, coef=0.5),))
  loss, terms = _loss(method, fields)
  plain, _ = _loss(_GRPO, fields)
  np.testing.assert_allclose(
    loss, plain + 0.5 * terms["entropy_term"].value(), rtol=1e-6
  )
  value = lambda e: _loss(method, fields | {"entropies": e})[0]
  gradient = jax.grad(value)(fields["entropies"])
  mask = fields["completion_mask"]
  np.testing.assert_allclose(gradient, -0.5 * mask / mask.sum(), rtol=1e-6)


def test_a_regularizer_may_hold_on_chosen_tokens_alone():
  fields = _fields()
  chosen = jnp.zeros_like(fields["completion_mask"]).at[:, 0].set(1.0)
  method = _GRPO._replace(
    regularizers=(_bound(entropy_term, over="planning_tokens"),)
  )
  _, terms = _loss(method, fields | {"planning_tokens": chosen})
  term = terms["entropy_term"]
  assert term.count == len(fields["rewards"])
  np.testing.assert_allclose(
    term.total, -jnp.sum(fields["entropies"][:, 0]), rtol=1e-6
  )


def test_padding_is_inert():
  fields = _fields()
  mask = fields["completion_mask"]
  junk = {
    name: jnp.where(mask > 0, fields[name], jnp.nan)
    for name in ("logprobs", "old_logprobs", "frozen_entropies")
  }

  def value(logprobs, fields):
    return _loss(_GRPO, fields | {"logprobs": logprobs})[0]

  clean = jax.value_and_grad(value)(fields["logprobs"], fields)
  dirty = jax.value_and_grad(value)(junk["logprobs"], fields | junk)
  np.testing.assert_array_equal(clean[0], dirty[0])
  np.testing.assert_array_equal(clean[1], dirty[1])


def test_a_batch_without_any_token_gives_zero_loss_and_gradient():
  fields = _fields()
  fields |= {"completion_mask": jnp.zeros_like(fields["completion_mask"])}

  def value(logprobs):
    loss, terms = _loss(_GRPO, fields | {"logprobs": logprobs})
    return loss, terms["policy"].count

  (loss, count), gradient = jax.value_and_grad(value, has_aux=True)(
    fields["logprobs"]
  )
  assert (loss, count) == (0.0, 0.0)
  np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


def test_groups_of_equal_rewards_give_exactly_no_gradient():
  fields = _fields()
  fields |= {"rewards": jnp.ones_like(fields["rewards"])}
  value = lambda logprobs: _loss(_GRPO, fields | {"logprobs": logprobs})[0]
  gradient = jax.grad(value)(fields["logprobs"])
  np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


@pytest.mark.parametrize(
  "aggregate", [losses.token_mean, losses.sequence_mean, losses.fixed_length]
)
def test_the_losses_of_the_parts_add_up_to_that_of_the_batch(aggregate):
  method = _GRPO._replace(aggregate=_bound(aggregate))
  fields = credit.assign_credit(method, _fields(num_prompts=4, samples=2))
  counts = credit.counts(method, fields)
  part = lambda rows: credit.loss_and_terms(
    method, {k: v[rows] for k, v in fields.items()}, counts
  )[0]
  whole = part(slice(None))
  np.testing.assert_allclose(
    part(slice(0, 3)) + part(slice(3, 4)) + part(slice(4, 8)), whole, rtol=1e-5
  )
