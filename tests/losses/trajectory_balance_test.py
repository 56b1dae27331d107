"""Trajectory balance: what its numbers are, worked out by hand."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from tests.losses import space_a

# ----------------------------------------------------------------- Space A


def test_the_target_is_where_every_residual_is_zero():
  np.testing.assert_allclose(
    space_a.TARGET, [0.545455, 0.136364, 0.272727, 0.045455], atol=1e-6
  )
  accuracy = float(space_a.TARGET @ space_a.REWARDS)
  assert accuracy == pytest.approx(0.818182, abs=1e-6)
  assert abs(space_a.TARGET - space_a.ANCHOR).sum() / 2 == pytest.approx(
    0.218182, abs=1e-6
  )
  np.testing.assert_allclose(
    space_a.residuals(space_a.TARGET, space_a.Z_TRUE), 0.0, atol=1e-6
  )
  # Neither another log-partition nor another policy.
  assert jnp.all(jnp.abs(space_a.residuals(space_a.TARGET, 0.6)) > 0.1)
  assert (
    jnp.max(jnp.abs(space_a.residuals(space_a.ANCHOR, space_a.Z_TRUE))) > 0.1
  )


@pytest.mark.parametrize(
  "z, expected",
  [(0.0, 0.724169), (0.659167, 0.289668), (space_a.Z_TRUE, 0.306384)],
)
def test_at_the_anchor_the_best_log_partition_is_the_accuracy(z, expected):
  of = lambda z: jnp.mean(
    space_a.balance(
      space_a.logs(space_a.ANCHOR)[space_a.TEN],
      z,
      space_a.REWARDS[space_a.TEN],
      space_a.LN3,
    ).losses
  )
  value, slope = jax.jit(jax.value_and_grad(of))(jnp.asarray(z, jnp.float32))
  np.testing.assert_allclose(value, expected, atol=1e-6)
  # 2 (z - 0.6 ln 3): zero at z_cond and not at z_true.
  np.testing.assert_allclose(slope, 2 * (z - 0.659167), atol=3e-6)


@pytest.mark.parametrize(
  "policy, divergence, z",
  [
    (space_a.ANCHOR, 0.0, 0.659167),
    ([0.45, 0.25, 0.2, 0.1], 0.007583, 0.666751),
    (space_a.TARGET, 0.129290, space_a.Z_TRUE),
  ],
)
def test_the_accuracy_is_the_partition_less_the_divergence(
  policy, divergence, z
):
  # PACED-RL, proposition 4.1: p_old = (z - KL(old || policy)) / kappa.
  found = space_a.vargrad(policy)
  np.testing.assert_allclose(found, np.full(10, z), atol=2e-6)
  kl = space_a.ANCHOR @ np.log(space_a.ANCHOR / np.asarray(policy))
  assert kl == pytest.approx(divergence, abs=1e-6)
  np.testing.assert_allclose((found[0] - kl) / space_a.LN3, 0.6, atol=2e-6)


def test_a_moving_anchor_keeps_the_odds_of_right_answers():
  policy = space_a.ANCHOR
  for _ in range(2):
    tilted = policy * np.exp(space_a.LN3 * space_a.REWARDS)
    total = tilted.sum()
    # What solves the balance to the last snapshot is the next snapshot.
    residuals = space_a.residuals(tilted / total, np.log(total), anchor=policy)
    np.testing.assert_allclose(residuals, 0.0, atol=1e-6)
    policy = np.asarray(tilted / total)
    assert policy[0] / policy[2] == pytest.approx(2.0)
  expected = [0.620690, 0.051724, 0.310345, 0.017241]
  np.testing.assert_allclose(policy, expected, atol=1e-6)


@pytest.mark.parametrize("z", [0.0, 3.7])
def test_on_policy_the_gradient_is_twice_that_of_the_divergence(z):
  logits = jnp.array([0.3, -0.2, 0.5, 0.1])

  def expected_loss(logits):
    live = jax.nn.log_softmax(logits)[:, None]
    found = space_a.balance(
      live,
      z,
      space_a.REWARDS,
      space_a.LN3,
      anchor_logprobs=space_a.logs(space_a.ANCHOR),
    ).losses
    return jnp.sum(lax.stop_gradient(jnp.exp(live[:, 0])) * found)

  def divergence(logits):
    ours = jax.nn.softmax(logits)
    return jnp.sum(ours * jnp.log(ours / space_a.TARGET))

  found = jax.jit(jax.grad(expected_loss))(logits)
  expected = [-0.526265, -0.024371, -0.044486, 0.595122]
  np.testing.assert_allclose(found, expected, atol=2e-6)
  np.testing.assert_allclose(found, 2 * jax.grad(divergence)(logits), atol=2e-6)


# ------------------------------------------------------------- group means


def test_the_group_mean_of_four_answers():
  z = space_a.vargrad([0.25] * 4, [0.25] * 4, rows=np.arange(4), inv_temp=20.0)
  assert z.tolist() == [10.0] * 4
  of = lambda x: space_a.balance(x, z, space_a.REWARDS, 20.0)
  live = space_a.logs([0.25] * 4)
  found = of(live)
  assert found.residuals.tolist() == [-10.0, 10.0, -10.0, 10.0]
  assert found.losses.tolist() == [100.0] * 4
  slope = jax.grad(lambda x: jnp.mean(of(x).losses))(live)
  assert slope.ravel().tolist() == [-5.0, 5.0, -5.0, 5.0]


def test_the_group_mean_may_be_frozen():
  # Flow of Reasoning differentiates through the mean: the same gradient.
  rng = np.random.default_rng(0)
  groups = jnp.array([0, 0, 0, 3, 3, 3, 3, 3])
  live, anchor = -jnp.asarray(rng.exponential(1.0, (2, 8, 5)), jnp.float32)
  rewards = jnp.asarray(rng.normal(size=8), jnp.float32)
  mask = jnp.asarray(rng.random((8, 5)) < 0.7, jnp.float32).at[:, 0].set(1.0)

  def frozen(x):
    shared = dict(
      logprobs=x, anchor_logprobs=anchor, rewards=rewards, completion_mask=mask,
      inv_temp=jnp.asarray(3.0),
    )  # fmt: skip
    z = losses.vargrad_log_z(group_ids=groups, valid=jnp.ones(8), **shared)
    return jnp.sum(jnp.square(losses.tb_residual(log_partition=z, **shared)))

  def through(x):
    score = jnp.sum((x - anchor) * mask, axis=1) - 3.0 * rewards
    parts = [score[:3], score[3:]]
    return sum(jnp.sum((part - jnp.mean(part)) ** 2) for part in parts)

  np.testing.assert_allclose(frozen(live), through(live), rtol=1e-5)
  np.testing.assert_allclose(
    jax.jit(jax.grad(frozen))(live),
    jax.jit(jax.grad(through))(live),
    rtol=1e-4,
    atol=1e-4,
  )


def test_a_mean_over_the_batch_is_one_number_for_all():
  rows, same = np.arange(4), [0.25] * 4
  of = lambda **changes: space_a.vargrad(
    same, same, rows, inv_temp=20.0, **changes
  )
  groups = jnp.array([0, 1, 0, 1])
  assert of(group_ids=groups).tolist() == [20.0, 0.0, 20.0, 0.0]
  whole = of(group_ids=groups, mean_over="batch")
  assert whole.tolist() == [10.0] * 4
  # Rows that nobody judged do not count, and receive the number.
  judged = jnp.array([1.0, 1.0, 1.0, 0.0])
  whole = of(group_ids=groups, mean_over="batch", valid=judged)
  np.testing.assert_allclose(whole, [40 / 3] * 4, rtol=1e-6)


def test_what_is_computed_from_the_policy_beside_the_residual_is_frozen():
  live = space_a.logs(space_a.ANCHOR)
  for function in (
    lambda x: space_a.vargrad(space_a.ANCHOR, rows=np.arange(4), logprobs=x),
    lambda x: losses.flowrl_weight(
      logprobs=x, old_logprobs=live - 0.1, completion_mask=jnp.ones((4, 1))
    ),
  ):
    slope = jax.jit(jax.grad(lambda x, f=function: jnp.sum(f(x))))(live)
    assert not jnp.any(slope)


@pytest.mark.parametrize("samples, successes", [(4, 1), (8, 1), (8, 3), (8, 7)])
def test_group_normalised_rewards_erase_the_accuracy(samples, successes):
  verdicts = (jnp.arange(samples) < successes).astype(jnp.float32)
  rows = dict(group_ids=jnp.zeros(samples, jnp.int32), valid=jnp.ones(samples))
  rewards = advantages.grpo_advantages(rewards=verdicts, epsilon=0.0, **rows)
  live = jnp.full((samples, 1), -1.0)
  found = jnp.mean(space_a.balance(live, 0.0, rewards, 15.0).losses)
  # kappa^2 (G - 1) / G: 168.75 of four, 196.875 of eight.
  np.testing.assert_allclose(found, 225 * (samples - 1) / samples, rtol=1e-5)
  # The best log-partition is 0, however hard the prompt; descent ends there.
  z = jnp.asarray(5.0)
  of = lambda z: jnp.mean(space_a.balance(live, z, rewards, 15.0).losses)
  slope = jax.jit(jax.grad(of))
  for _ in range(100):
    z -= 0.1 * slope(z)
  np.testing.assert_allclose(z, 0.0, atol=1e-4)


@pytest.mark.parametrize("reward, best, weight", [(0.0, 0, 20), (1.0, 20, -20)])
def test_a_group_of_equal_rewards_still_teaches(reward, best, weight):
  rewards, live = jnp.full(4, reward), jnp.full((4, 2), -1.0)
  rows = dict(group_ids=jnp.zeros(4, jnp.int32), valid=jnp.ones(4))
  assert not jnp.any(advantages.grpo_advantages(rewards=rewards, **rows))
  of = lambda x, z: jnp.mean(space_a.balance(x, z, rewards, 20.0).losses)
  slope = jax.jit(jax.grad(of))
  assert not jnp.any(slope(live, float(best)))
  # Off its optimum the log-partition pushes all rows one way.
  np.testing.assert_allclose(slope(live, 10.0), np.full((4, 2), weight / 4))
