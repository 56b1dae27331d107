"""Trajectory balance: lengths, weights, clips, presets, mistakes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import credit
from rlvr_jax import derived
from rlvr_jax import errors
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax import schedules
from rlvr_jax.losses.trajectory_balance import PRESETS
from tests import batches
from tests.losses import space_a

_bound = objective_lib.bound


# ----------------------------------------------------- lengths and weights


def test_the_mean_over_tokens_multiplies_kappa_by_a_common_length():
  found = space_a.residuals(
    space_a.TARGET,
    0.394229,
    length=2,
    inv_temp=space_a.LN3 / 2,
    length_norm="token",
  )
  np.testing.assert_allclose(found, 0.0, atol=1e-6)


@pytest.mark.parametrize(
  "length_norm, z, policy",
  [
    ("token", 0.311905, [0.732051, 0.267949]),
    ("none", 0.405465, [2 / 3, 1 / 3]),
  ],
)
def test_the_mean_over_tokens_of_unequal_lengths_has_another_optimum(
  length_norm, z, policy
):
  # Answers of one and of two tokens, kappa = ln 2.
  mask = jnp.array([[1.0, 0.0], [1.0, 1.0]])
  spread = lambda chances: (
    space_a.logs(chances) * jnp.array([[1.0, 0.0], [0.5, 0.5]])
  )
  found = losses.tb_residual(
    logprobs=spread(policy),
    anchor_logprobs=spread([0.5, 0.5]),
    log_partition=jnp.full(2, z),
    rewards=jnp.array([1.0, 0.0]),
    completion_mask=mask,
    inv_temp=jnp.log(2.0),
    length_norm=length_norm,
  )
  np.testing.assert_allclose(found, 0.0, atol=1e-6)


@pytest.mark.parametrize(
  "settings, expected",
  [
    (dict(w_high=math.inf), 22026.466),
    ({}, 10.0),
    (dict(w_low=0.8, w_high=1.28), 1.28),
    (dict(w_mode="token"), 1.010050),
    (dict(w_mode="none", w_low=0.8, w_high=1.28), 1.0),
  ],
)
def test_weights_of_a_thousand_tokens(settings, expected):
  def of(num_tokens, gap):
    old = jnp.full((1, num_tokens), -1.0)
    mask = jnp.ones((1, num_tokens))
    return losses.flowrl_weight(
      logprobs=old + gap, old_logprobs=old, completion_mask=mask, **settings
    )

  # A hundredth of a nat a token, in float32 good to 1e-7 of 1 nat.
  np.testing.assert_allclose(of(1000, 0.01), [expected], rtol=2e-4)
  for gap in (0.01, -0.01, 0.9):
    assert jnp.all(jnp.isfinite(of(10_000, gap)))


def test_three_thousand_tokens_are_summed_in_float32():
  total = lambda value: losses.seq_logratio(
    logprobs=jnp.full((1, 3072), value, jnp.float32),
    anchor_logprobs=jnp.zeros((1, 3072)),
    completion_mask=jnp.ones((1, 3072)),
  )
  np.testing.assert_allclose(total(-0.37), [-1136.64], rtol=1e-6)
  # Of bfloat16 numbers: what they round to, where a bfloat16 sum ends at -128.
  rounded = jnp.asarray(-0.37, jnp.bfloat16).astype(jnp.float32)
  np.testing.assert_allclose(total(rounded), [-1134.0], rtol=1e-6)


def test_a_rows_weight_is_not_a_tokens():
  # Rows that stand twice with half the weight.
  live = space_a.logs(space_a.ANCHOR, 3)
  for norm in ("none", "token"):
    of = lambda mask, norm=norm: losses.seq_logratio(
      logprobs=live,
      anchor_logprobs=2.0 * live,
      completion_mask=mask,
      length_norm=norm,
    )
    full = jnp.ones((4, 3))
    np.testing.assert_array_equal(of(0.5 * full), of(full))


def test_a_loss_in_units_of_accuracy_is_that_of_a_value():
  rng = np.random.default_rng(0)
  live, anchor = -jnp.asarray(rng.exponential(1.0, (2, 4, 3)), jnp.float32)
  z, beta = jnp.asarray(rng.normal(10.0, 5.0, 4), jnp.float32), 0.05
  of = lambda **changes: (
    space_a.balance(
      live, z, space_a.REWARDS, 1 / beta, anchor_logprobs=anchor, **changes
    ).losses
  )
  moved = jnp.sum(live - anchor, axis=1)
  value = jnp.square(beta * z - space_a.REWARDS + beta * moved)
  np.testing.assert_allclose(of() * beta**2, value, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(of(units="accuracy"), value, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------ residual clip


def _gflowrl(**changes):
  """A policy that has moved, its group mean taken at the old policy."""
  rng = np.random.default_rng(1)
  old, ref = -jnp.asarray(rng.exponential(1.0, (2, 4, 3)), jnp.float32)
  live = old - jnp.asarray(rng.exponential(0.1, (4, 3)), jnp.float32)
  z = space_a.vargrad(
    space_a.ANCHOR, rows=np.arange(4), logprobs=old, anchor_logprobs=ref,
    completion_mask=jnp.ones((4, 3)), inv_temp=jnp.asarray(8.0),
  )  # fmt: skip
  gap = jnp.sum(ref - old, axis=1)
  missed = jnp.mean(8.0 * space_a.REWARDS + gap) - gap - 8.0 * space_a.REWARDS
  found = space_a.balance(
    live, z, space_a.REWARDS, 8.0, old_logprobs=old, anchor_logprobs=ref,
    w_mode="sequence", w_high=2.0, **changes,
  )  # fmt: skip
  return found, missed, jnp.sum(live - old, axis=1)


def test_gflowrl_clips_what_the_old_policy_missed_by():
  found, missed, moved = _gflowrl(residual_low=-1.0, residual_high=2.0)
  assert jnp.any(missed < -1.0) and jnp.any(missed > 2.0)
  residuals = jnp.clip(missed, -1.0, 2.0) + moved
  weights = jnp.minimum(jnp.exp(moved), 2.0)
  np.testing.assert_allclose(found.residuals, residuals, rtol=1e-4)
  np.testing.assert_allclose(found.losses, weights * residuals**2, rtol=1e-4)
  # Of the old policy's residuals, a group's sum is 0.
  np.testing.assert_allclose(jnp.sum(missed), 0.0, atol=1e-4)


def test_a_residual_clip_that_does_not_bind_is_none():
  wide = _gflowrl(residual_low=-1e6, residual_high=1e6)[0]
  for plain in (
    _gflowrl()[0],
    _gflowrl(residual_low=-math.inf, residual_high=math.inf)[0],
  ):
    np.testing.assert_allclose(wide.losses, plain.losses, rtol=1e-4)


# ---------------------------------------------------- presets and mistakes


def _method(name):
  """The objective that a preset stands for."""
  preset = dict(PRESETS[name])
  anchor, source = preset.pop("anchor"), preset.pop("z_source")
  inv_temp = schedules.Schedule(preset.pop("inv_temp"))
  group_mean = _bound(
    losses.vargrad_log_z,
    anchor_logprobs=anchor,
    mean_over="group" if source == "head" else source,
  )
  return objective_lib.Objective(
    advantage=_bound(advantages.grpo_advantages),
    sequence_loss=_bound(
      losses.trajectory_balance,
      anchor_logprobs=anchor,
      log_partition="log_partition" if source == "head" else "vargrad_log_z",
      **preset,
    ),
    derived=(_bound(derived.zero_anchor), group_mean),
    scalars={"inv_temp": inv_temp},
  )


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_method_with_finite_loss_and_gradient(name):
  method = _method(name)
  # Positions beyond every bound that a weight could overflow.
  fields = batches.fields(length=2000, num_prompts=2)
  far = {"logprobs": fields["old_logprobs"] + 0.9}
  live = {k: fields[k] for k in ("logprobs", "log_partition")}
  value = lambda live: credit.whole_loss(method, fields | live)[0]
  both = jax.jit(jax.value_and_grad(value))
  for moved in ({}, far):
    loss, gradients = both(live | moved)
    assert loss > 0 and jnp.isfinite(loss)
    assert jnp.max(jnp.abs(gradients["logprobs"])) > 0
    for gradient in gradients.values():
      assert jnp.all(jnp.isfinite(gradient))
    trains_z = PRESETS[name]["z_source"] == "head"
    assert bool(jnp.any(gradients["log_partition"])) == trains_z


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"inv_temp": 0.0}, "inv_temp is 0.0: it multiplies rewards (kappa: "),
    ({"inv_temp": -20.0}, "inv_temp is -20.0: it multiplies rewards (kappa: "),
    (
      {"length_norm": "tokens"},
      "length_norm is 'tokens': did you mean 'token'? choose one of none, to",
    ),
    ({"w_mode": "clip"}, "w_mode is 'clip': choose one of none, sequence,"),
    ({"length_norm": None}, "length_norm is None: did you mean 'none'?"),
    ({"units": "bits"}, "units is 'bits': choose one of accuracy, nats"),
    ({"w_low": 1.1}, "w_low is 1.1 and w_high 10.0: the band has to hold the"),
    ({"w_high": 0.9}, "w_low is 0.0 and w_high 0.9: the band has to hold the"),
    ({"w_low": -0.1}, "w_low is -0.1 and w_high 10.0: the band has to hold"),
    (
      {"residual_low": 2.0, "residual_high": 1.0},
      "residual_low is 2.0, above residual_high (1.0): give the smaller one",
    ),
    ({"rewards": [jnp.nan] * 4}, "rewards[0] is nan: set valid to 0 on rows"),
    (
      {"log_partition": jnp.zeros((4, 1))},
      "log_partition has shape (4, 1): it takes [B]",
    ),
    (
      {"anchor_logprobs": jnp.ones((4, 1))},
      "anchor_logprobs[0, 0] is 1.0: log-probabilities are at most 0",
    ),
  ],
)
def test_mistakes_are_refused_by_field_and_value(changes, message):
  settings = dict(z=0.0, rewards=[1.0] * 4, inv_temp=1.0) | changes
  with pytest.raises(errors.UserError) as caught:
    space_a.balance(space_a.logs(space_a.ANCHOR), **settings)
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)


def test_a_group_mean_is_over_the_group_or_the_batch():
  with pytest.raises(errors.UserError, match="mean_over is 'prompt': choose"):
    space_a.vargrad(space_a.ANCHOR, mean_over="prompt")
