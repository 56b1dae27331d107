"""The update: minibatches in order, old log-probs of the policy before."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import update
from tests import testing

_METHOD = objective_lib.Objective(
  advantage=objective_lib.bound(advantages.grpo_advantages),
  token_loss=objective_lib.bound(losses.ppo_clip),
)


def _step(batch, rate=0.1, **config):
  model, params = testing.tiny_model()
  optimizer = optax.sgd(rate)
  step = functools.partial(
    update.train_step,
    model=model,
    method=_METHOD,
    optimizer=optimizer,
    config=update.UpdateConfig(**config),
  )
  return jax.jit(step)(testing.train_state(params, optimizer), batch)


def test_an_update_raises_the_log_probs_of_rewarded_rows():
  model, params = testing.tiny_model()
  batch = testing.rollout_batch()
  state, _ = _step(batch)

  def logprob_gap(params):
    scores = testing.score(
      model, params, batch.prompts, batch.completion_tokens
    )
    sums = jnp.sum(scores.logprobs * batch.completion_mask, axis=1)
    return jnp.sum(sums * (2.0 * batch.rewards - 1.0))

  assert logprob_gap(state.params) > logprob_gap(params)
  assert state.step == 1


def test_a_single_update_has_ratio_one():
  _, metrics = _step(testing.rollout_batch())
  assert metrics["policy/ratio_gap"] == 0.0
  assert metrics["policy/kl_old"] == 0.0
  assert metrics["policy/grad_norm"] > 0.0


def test_later_minibatches_see_a_policy_that_moved():
  _, metrics = _step(testing.rollout_batch(), num_minibatches=2)
  assert metrics["policy/ratio_gap"] > 0.0
  assert metrics["policy/kl_old"] > 0.0


@pytest.mark.slow
def test_a_pass_as_wide_as_its_longest_completion_gives_the_same_step():
  batch = testing.rollout_batch(length=12)
  lengths = batch.completion_mask.sum(axis=1)
  assert lengths.max() > 9 > lengths.reshape(4, 2).max(axis=1).min()
  whole, expected = _step(batch)
  cut, metrics = _step(batch, num_micro_batches=4, length_buckets=4)
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name], value, 1e-5, 1e-6, err_msg=name)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    cut.params,
    whole.params,
  )


def test_minibatches_of_a_policy_that_stands_still_add_up():
  """At rate 0 the two halves' means average to that of the whole."""
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  batch = batch.replace(completion_mask=jnp.ones_like(batch.completion_mask))
  _, whole = _step(batch, rate=0.0)
  _, halves = _step(batch, rate=0.0, num_minibatches=2)
  np.testing.assert_allclose(
    halves["policy/entropy"], whole["policy/entropy"], rtol=1e-5
  )


def test_credit_is_given_once_over_the_whole_batch():
  """Two prompts in two minibatches: each keeps the other out of its mean."""
  batch = testing.rollout_batch(num_prompts=2, samples=2)
  together, _ = _step(batch, rate=1e-4, num_minibatches=2)
  model, params = testing.tiny_model()
  for prompt in (0, 1):
    rows = slice(2 * prompt, 2 * prompt + 2)
    alone = jax.tree.map(lambda x, rows=rows: x[rows], batch).replace(
      prompts=jax.tree.map(lambda x, p=prompt: x[p : p + 1], batch.prompts),
      group_ids=jnp.zeros(2, jnp.int32),
    )
    state, _ = _step(alone, rate=1e-4)
    params = jax.tree.map(
      lambda p, new, old: p + (new - old),
      params,
      state.params,
      testing.tiny_model()[1],
    )
  # To first order in the rate, two small steps add up.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    together.params,
    params,
  )
