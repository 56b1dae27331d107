"""Where one surrogate of the policy gradient is another."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import token_weights
from tests import batches
from tests.identities import comparison

_bound = objective_lib.bound
_GRPO = batches.GRPO
_assert_same = comparison.assert_same
_value_and_gradients = comparison.value_and_gradients
_WIDE = dict(clip_low=float("inf"), clip_high=float("inf"))
_UNCLIPPED = _GRPO._replace(token_loss=_bound(losses.ppo_clip, **_WIDE))


# ----------------------------------------------------------------- surrogates


def test_the_batch_tells_methods_apart():
  fields = batches.fields()
  inside = fields["completion_mask"] > 0
  ratio = jnp.exp(fields["logprobs"] - fields["old_logprobs"])[inside]
  assert jnp.sum(ratio > 1.2) >= 3
  assert jnp.sum(ratio < 0.8) >= 3
  with pytest.raises(AssertionError):
    _assert_same(_GRPO, _UNCLIPPED)


@pytest.mark.parametrize(
  "settings", [{}, dict(clip_low=0.01, clip_high=0.28, dual_clip=1.5)]
)
def test_ppo_at_ratio_one_has_the_gradient_of_reinforce(settings):
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.ppo_clip, **settings)),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    value=False,
    exact=True,
  )


def test_cispo_at_ratio_one_is_reinforce():
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.cispo)),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    exact=True,
  )


@pytest.mark.parametrize("moved", [True, False])
def test_gspo_on_responses_of_one_token_is_ppo(moved):
  widths = dict(clip_low=0.2, clip_high=0.2)
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.gspo, **widths)),
    _GRPO._replace(token_loss=_bound(losses.ppo_clip, **widths)),
    batches.fields(moved=moved, length=1, num_prompts=8),
  )


def test_gspo_at_ratio_one_has_the_gradient_of_reinforce():
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.gspo)),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    value=False,
  )


def test_a_large_dual_clip_is_off():
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.ppo_clip, dual_clip=1e6)),
    _GRPO,
    exact=True,
  )


def test_reinforce_with_advantages_of_one_is_maximum_likelihood():
  ones = dict(advantage=_bound(batches.plain_rewards))
  fields = batches.fields() | {
    "rewards": jnp.ones_like(batches.fields()["rewards"])
  }
  _assert_same(
    _GRPO._replace(token_loss=_bound(losses.reinforce), **ones),
    _GRPO._replace(token_loss=_bound(losses.negative_log_likelihood), **ones),
    fields,
    exact=True,
  )


def _kl_cov(coef=1.0, **settings):
  return _GRPO._replace(
    token_loss=_bound(losses.kl_cov, kl_cov_coef=coef),
    derived=(_bound(derived.kl_cov_tokens, **settings),),
  )


def test_kl_cov_without_chosen_tokens_is_the_unclipped_surrogate():
  _assert_same(_kl_cov(select_frac=0.0), _UNCLIPPED)


def test_kl_cov_without_penalty_is_the_unclipped_surrogate():
  _assert_same(_kl_cov(coef=0.0, select_frac=0.5), _UNCLIPPED)


def test_kl_cov_at_ratio_one_has_the_gradient_of_reinforce():
  # The penalty |log-ratio| has slope 0 at 0: it acts from the second
  # minibatch on.
  _assert_same(
    _kl_cov(coef=3.0, select_frac=0.5),
    _GRPO._replace(token_loss=_bound(losses.reinforce)),
    batches.fields(moved=False),
    value=False,
    exact=True,
  )


def test_clip_cov_with_an_empty_band_is_ppo():
  _assert_same(
    _GRPO._replace(
      token_loss=_bound(losses.clip_cov),
      derived=(_bound(derived.clip_cov_tokens, cov_low=1.0, cov_high=1.0),),
    ),
    _GRPO,
    exact=True,
  )


# -------------------------------------------------------------- jit and eager


@pytest.mark.parametrize(
  "method",
  [
    _GRPO._replace(regularizers=(_bound(losses.kl_k3, coef=0.1),)),
    _kl_cov(select_frac=0.2),
    _GRPO._replace(
      advantage=_bound(advantages.rloo_advantages),
      filters=(_bound(advantages.mixed_groups),),
      token_weights=(
        _bound(token_weights.forking_token_mask),
        _bound(token_weights.steer_weights),
      ),
      behavior=(_bound(losses.truncated_importance),),
      aggregate=_bound(losses.token_mean, over_kept=True),
    ),
  ],
  ids=["grpo", "kl_cov", "many hooks"],
)
def test_compiled_and_eager_losses_agree(method):
  fields = batches.fields()
  value = lambda x: credit.whole_loss(method, fields | {"logprobs": x})[0]
  both = jax.value_and_grad(value)
  eager, compiled = both(fields["logprobs"]), jax.jit(both)(fields["logprobs"])
  np.testing.assert_allclose(eager[0], compiled[0], rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(eager[1], compiled[1], rtol=1e-6, atol=1e-7)


def test_old_logprobs_carry_no_gradient_of_their_own():
  # Ratio 1 made of one and the same array: only the policy's part of the
  # gradient is asked for, and it is that of REINFORCE.
  fields = batches.fields(moved=False)

  def value(logprobs):
    old = {"old_logprobs": lax.stop_gradient(logprobs)}
    return credit.whole_loss(_GRPO, fields | old | {"logprobs": logprobs})[0]

  _, expected = _value_and_gradients(
    _GRPO._replace(token_loss=_bound(losses.reinforce)), fields
  )
  np.testing.assert_array_equal(
    jax.grad(value)(fields["logprobs"]), expected[0]
  )
