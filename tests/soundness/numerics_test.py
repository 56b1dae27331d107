"""What is no number changes no parameter, and is told of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import advantages
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import update
from rlvr_jax.rollouts import files as rollout_files
from rlvr_jax.soundness import numerics
from tests import testing

_METHOD = objective_lib.Objective(
  advantage=objective_lib.bound(advantages.grpo_advantages),
  token_loss=objective_lib.bound(losses.ppo_clip),
)


@functools.cache
def _compiled(num_minibatches):
  model, _ = testing.tiny_model()
  return jax.jit(
    functools.partial(
      update.train_step,
      model=model,
      method=_METHOD,
      optimizer=optax.sgd(0.1, momentum=0.9),
      config=update.UpdateConfig(num_minibatches=num_minibatches),
    )
  )


def _step(batch, num_minibatches=1):
  _, params = testing.tiny_model()
  state = testing.train_state(params, optax.sgd(0.1, momentum=0.9))
  return state, *_compiled(num_minibatches)(state, batch)


def _same(ours, theirs) -> bool:
  equal = jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), ours, theirs)
  return all(jax.tree.leaves(equal))


def test_an_update_that_is_no_number_is_left_out():
  batch = testing.rollout_batch()
  rewards = batch.rewards.at[0].set(jnp.nan)
  before, after, metrics = _step(batch.replace(rewards=rewards))
  assert metrics[numerics.SKIPPED] == 1.0
  assert np.isnan(metrics["policy/loss"])
  assert _same(after.params, before.params)
  assert _same(after.opt_state, before.opt_state)
  # The run goes on with other prompts.
  assert after.step == before.step + 1


def test_numbers_are_learned_from():
  before, after, metrics = _step(testing.rollout_batch())
  assert metrics[numerics.SKIPPED] == 0.0
  assert not _same(after.params, before.params)


def test_only_the_minibatch_that_is_no_number_is_left_out():
  batch = testing.rollout_batch()
  # The first prompt is in the first minibatch.
  rewards = batch.rewards.at[0].set(jnp.nan)
  before, after, metrics = _step(batch.replace(rewards=rewards), 2)
  assert metrics[numerics.SKIPPED] == 0.5
  assert not _same(after.params, before.params)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(after.params))


@pytest.mark.parametrize(
  "name, value, expected",
  [
    ("logprobs", 0.25, 0.25),
    ("sampler_logprobs", 0.5, 0.5),
    ("entropies", -0.125, 0.125),
    ("frozen_entropies", 0.125, 0.0),
    ("logprobs", -3.0, 0.0),
    ("rewards", 9.0, 0.0),
  ],
)
def test_what_cannot_be_is_measured_in_nats(name, value, expected):
  mask = jnp.array([[1.0, 1.0, 0.0]])
  # Beyond the end anything may be.
  fields = {
    "completion_mask": mask,
    "logprobs": jnp.array([[-1.0, -0.5, 7.0]]),
    "rewards": jnp.ones(1),
  }
  row = [[value, -2.0, 5.0]] if value < 0 else [[value, 0.0, -5.0]]
  fields |= {name: jnp.ones(1) * value if name == "rewards" else jnp.array(row)}
  if name == "entropies":
    fields[name] = jnp.array([[value, 2.0, -5.0]])
  found = numerics.impossible_nats(fields)
  np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_rows_without_a_teacher_say_nothing_of_it():
  fields = {
    "completion_mask": jnp.ones((2, 1)),
    "teacher_logprobs": jnp.array([[3.0], [2.0]]),
    "has_teacher": jnp.array([0.0, 1.0]),
  }
  np.testing.assert_allclose(numerics.impossible_nats(fields), [0.0, 2.0])


def test_a_run_with_impossible_log_probs_stops():
  numerics.check_possible(7, {numerics.IMPOSSIBLE: 1e-6})
  with pytest.raises(errors.UserError, match=r"step 7 .* by 0.3 nats"):
    numerics.check_possible(7, {numerics.IMPOSSIBLE: 0.3})


@pytest.mark.parametrize(
  "shares, expected",
  [
    ([], 0),
    ([0.0], 0),
    ([1.0, 0.0], 0),
    ([0.0, 1.0, 0.5], 2),
    ([None, 1.0], 1),
  ],
)
def test_steps_left_out_are_counted_from_the_end(shares, expected):
  lines = [{numerics.SKIPPED: share} for share in shares]
  assert numerics.skipped_in_a_row(lines) == expected


def test_a_kept_batch_comes_back_and_is_left_out_again(tmp_path):
  batch = testing.rollout_batch()
  batch = batch.replace(rewards=batch.rewards.at[3].set(jnp.inf))
  metrics = {
    "policy/loss": float("nan"),
    "policy/entropy": 1.0,
    "policy/grad_norm": float("inf"),
    "train/reward": float("inf"),
  }
  told = numerics.keep_skipped(4, metrics, batch, batch, tmp_path)
  path = tmp_path / "skipped" / "step_4.npz"
  assert told.startswith("step 4 left an update out: not finite were")
  assert "policy/loss, policy/grad_norm, of a batch where rewards[3] is" in told
  assert str(path) in told
  kept, replayed = rollout_files.read(path)
  assert _same(kept, batch) and _same(replayed, batch)
  assert _step(kept)[2][numerics.SKIPPED] == 1.0


def test_what_is_blamed_without_a_bad_field():
  metrics = {"policy/loss": float("nan"), "policy/kl_loss": float("nan")}
  assert numerics.blamed(metrics, {}) == "policy/loss, policy/kl_loss"


def test_the_number_of_steps_that_are_allowed_is_checked():
  with pytest.raises(
    errors.UserError, match="config.numerics.max_skipped is 0"
  ):
    numerics.NumericsConfig(max_skipped=0)


def test_a_run_that_leaves_out_one_update_after_another_stops():
  config = numerics.NumericsConfig(max_skipped=3)
  numerics.check_skipped(config, 2, "step 8 ...")
  with pytest.raises(errors.UserError, match="3 steps in a row .* step 9 left"):
    numerics.check_skipped(config, 3, "step 9 left an update out")
