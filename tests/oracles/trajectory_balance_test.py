"""Trajectory balance: where it ends, and what it samples from then on.

Every completion is a row, weighed by the law that it is drawn from, so that a
step is an exact expectation. Space A: four answers of one token with anchor
(.4, .3, .2, .1), rewards 1, 0, 1, 0 and kappa = ln 3; Z = 2.2.
"""

import functools
import math

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlvr_jax import credit
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax.losses.trajectory_balance import PRESETS
from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import sampling
from rlvr_jax.rollouts import scoring
from tests import testing
from tests.oracles import enumeration

_bound = objective_lib.bound
_SPACE_A = enumeration.space(vocab_size=4, length=1)
_ANCHOR = np.array([0.4, 0.3, 0.2, 0.1])
_REWARDS = np.array([1.0, 0.0, 1.0, 0.0])
_TARGET = np.array([1.2, 0.3, 0.6, 0.1]) / 2.2
_Z_TRUE = math.log(2.2)
_LONG = enumeration.space(vocab_size=3, length=3, end=0)
_DRAWS = 100_000


def _method(anchor="ref_logprobs", log_partition="log_partition"):
  return objective_lib.Objective(
    sequence_loss=_bound(
      losses.trajectory_balance,
      anchor_logprobs=anchor,
      log_partition=log_partition,
    )
  )


def _distance(first, second) -> float:
  """Total variation, in float64."""
  first, second = np.asarray(first, "float64"), np.asarray(second, "float64")
  return np.abs(first - second).sum() / 2


def _loss(method, params, kappa, rewards, over, weights=None, **frozen):
  """The library's loss, completions weighed by a law; on-policy by default."""
  logits, z = params
  fields = enumeration.fields(logits, over, rewards, **frozen)
  if weights is None:
    weights = jnp.exp(jnp.sum(fields["logprobs"], axis=1))
  number = len(over.tokens)
  return credit.whole_loss(
    method,
    fields
    | {
      # The loss divides by the weights, whose sum is 1.
      "valid": lax.stop_gradient(weights),
      "inv_temp": jnp.asarray(kappa, logits.dtype),
      "log_partition": jnp.broadcast_to(z, (number,)),
      "group_ids": jnp.zeros(number, jnp.int32),
    },
  )[0]


def _descend(loss, params, rates, num_steps):
  """Plain gradient descent, a rate for each part of the parameters."""

  def step(params, _):
    slopes = jax.grad(loss)(params)
    moved = [
      p - rate * s for p, rate, s in zip(params, rates, slopes, strict=True)
    ]
    return tuple(moved), None

  run = lambda params: lax.scan(step, params, length=num_steps)[0]
  return jax.jit(run)(params)


# -------------------------------------------------------------- fixed anchor


@functools.cache
def _fitted(num_steps, uniform=False):
  """Logits and log-partition after descent at rate 0.1, in float64."""
  with jax.enable_x64(True):
    start = jnp.log(jnp.asarray(_ANCHOR))[None]
    loss = lambda params: _loss(
      _method(),
      params,
      math.log(3.0),
      _REWARDS,
      _SPACE_A,
      weights=jnp.full(4, 0.25) if uniform else None,
      ref_logprobs=start.T,
    )
    params = start, jnp.zeros(())
    logits, z = _descend(loss, params, (0.1, 0.1), num_steps)
    assert logits.dtype == z.dtype == "float64"
    return np.asarray(jax.nn.softmax(logits[0])), float(z)


def test_a_fixed_anchor_ends_at_the_tilted_policy():
  policy, z = _fitted(200)
  assert z == pytest.approx(0.788418, abs=1e-6)
  assert _distance(policy, _TARGET) == pytest.approx(1.7e-3, abs=5e-5)
  policy, z = _fitted(2000)
  assert z == pytest.approx(_Z_TRUE, abs=1e-9)
  assert _distance(policy, _TARGET) < 1e-11


def test_off_policy_it_ends_at_the_same_policy():
  policy, z = _fitted(4000, uniform=True)
  assert z == pytest.approx(_Z_TRUE, abs=1e-9)
  assert _distance(policy, _TARGET) < 1e-11


def test_with_the_policy_held_the_log_partition_is_the_accuracy():
  start = jnp.log(jnp.asarray(_ANCHOR))[None]
  loss = lambda params: _loss(
    _method(), params, math.log(3.0), _REWARDS, _SPACE_A, ref_logprobs=start.T
  )
  logits, z = _descend(loss, (start, jnp.zeros(())), (0.0, 0.1), 100)
  np.testing.assert_array_equal(logits, start)
  assert float(z) / math.log(3.0) == pytest.approx(0.6, abs=1e-5)
  # And not what it is worth as a log-partition.
  assert _Z_TRUE / math.log(3.0) == pytest.approx(0.717685, abs=1e-6)


def test_what_was_learned_is_what_is_sampled():
  policy, _ = _fitted(2000)
  uniforms = jax.random.uniform(jax.random.key(0), (_DRAWS,))
  logits = jnp.broadcast_to(jnp.log(jnp.asarray(policy)), (_DRAWS, 4))
  tokens = sampling.draw(logits, uniforms).tokens
  drawn = np.bincount(tokens, minlength=4) / _DRAWS
  assert _distance(drawn, _TARGET) < 0.01
  assert _distance(drawn, _ANCHOR) > 0.2


# ------------------------------------------------------------- moving anchor


def test_a_moving_anchor_keeps_the_accuracy_in_sight():
  # One step per snapshot with kappa 20, the log-partition a thousand times
  # quicker than the policy.
  kappa = 20.0
  loss = lambda params: _loss(
    _method(anchor="old_logprobs"), params, kappa, _REWARDS, _SPACE_A
  )
  with jax.enable_x64(True):
    start = jnp.log(jnp.asarray(_ANCHOR))[None], jnp.asarray(10.0)
    logits, _ = _descend(loss, start, (1e-4, 0.1), 100)
    _, z = _descend(loss, start, (1e-4, 0.1), 101)
    accuracy = float(jax.nn.softmax(logits[0]) @ _REWARDS)
  assert accuracy == pytest.approx(0.626505, abs=1e-6)
  # The log-partition has taken its step on that snapshot too.
  assert float(z) / kappa == pytest.approx(0.625471, abs=1e-6)
  true = math.log(1 - accuracy + accuracy * math.exp(kappa)) / kappa
  assert true == pytest.approx(0.976620, abs=1e-6)


# ----------------------------------------------------------------- gradients


@pytest.mark.parametrize("z", [0.0, 3.7])
def test_on_policy_it_descends_twice_the_divergence(precision, z):
  kappa = 1.5
  table, reference = (
    precision.array(enumeration.random_table(seed, _LONG, 3)) for seed in (0, 1)
  )
  rewards = precision.array(np.random.default_rng(2).normal(size=15))
  found = enumeration.gradient(
    lambda table: _loss(
      _method(),
      (table, jnp.asarray(z, table.dtype)),
      kappa,
      rewards,
      _LONG,
      ref_logprobs=enumeration.logprobs(reference, _LONG),
    )
  )(table)
  tilted = enumeration.probabilities(reference, _LONG)
  tilted *= jnp.exp(kappa * rewards)
  tilted /= jnp.sum(tilted)

  def divergence(table):
    ours = enumeration.probabilities(table, _LONG)
    return 2.0 * jnp.sum(ours * jnp.log(ours / tilted))

  exact = enumeration.gradient(divergence)(table)
  enumeration.assert_equal(found, exact, precision)


# ----------------------------------------------------------- a real decoder

# Two symbols and the end: 1 + 2 + 4 completions ended, 8 cut off.
_DECODED = enumeration.space(vocab_size=3, length=3, end=testing.EOS)
_KAPPA = 2.0


@functools.cache
def _decoder():
  model, params = testing.tiny_model(vocab_size=3, num_layers=1)
  # Of different tokens: attention over equal ones could not count them.
  prompts = testing.prompt_batch(1, length=3, vocab_size=3).replace(
    prompt_tokens=jnp.array([[1, 0, 2]], jnp.int32)
  )
  rewards = np.random.default_rng(4).uniform(size=15).astype(np.float32)
  return model, params, prompts, jnp.asarray(rewards)


def _scores(params):
  """Log-probabilities of all completions, f32[15, 3]."""
  model, _, prompts, _ = _decoder()
  found = scoring.score_completions(
    model, params, prompts, jnp.asarray(_DECODED.tokens)
  )
  return found.logprobs * _DECODED.mask


@functools.cache
def _trained():
  """The decoder after descent with its first policy as the anchor."""
  _, start, _, rewards = _decoder()
  preset = PRESETS["vargrad"]
  group_mean = _bound(
    losses.vargrad_log_z, anchor_logprobs=preset["anchor"], mean_over="group"
  )
  method = _method(
    anchor=preset["anchor"], log_partition="vargrad_log_z"
  )._replace(derived=(group_mean,))
  anchor = jax.jit(_scores)(start)
  optimizer = optax.adam(optax.cosine_decay_schedule(0.02, 300))

  def loss(params):
    live = _scores(params)
    return credit.whole_loss(
      method,
      {
        "logprobs": live,
        "old_logprobs": lax.stop_gradient(live),
        "ref_logprobs": anchor,
        "completion_mask": jnp.asarray(_DECODED.mask),
        "rewards": rewards,
        "inv_temp": jnp.asarray(_KAPPA),
        "group_ids": jnp.zeros(15, jnp.int32),
        "valid": lax.stop_gradient(jnp.exp(jnp.sum(live, axis=1))),
      },
    )[0]

  def step(carry, _):
    params, state = carry
    value, slopes = jax.value_and_grad(loss)(params)
    # Optax counts in whole numbers.
    with jax.numpy_dtype_promotion("standard"):
      updates, state = optimizer.update(slopes, state)
    return (optax.apply_updates(params, updates), state), value

  run = lambda carry: lax.scan(step, carry, length=300)
  (params, _), values = jax.jit(run)((start, optimizer.init(start)))
  tilted = jnp.exp(jnp.sum(anchor, axis=1) + _KAPPA * rewards)
  return params, tilted / jnp.sum(tilted), values


def _chances(params):
  return jnp.exp(jnp.sum(jax.jit(_scores)(params), axis=1))


@pytest.mark.slow
def test_a_decoder_learns_the_tilted_policy():
  params, target, values = _trained()
  assert values[-1] < 1e-2 * values[0]
  start = _chances(_decoder()[1])
  np.testing.assert_allclose(jnp.sum(start), 1.0, rtol=1e-5)
  assert _distance(start, target) > 0.1
  assert _distance(_chances(params), target) < 0.01


def test_a_decoder_samples_the_tilted_policy():
  model, _, prompts, _ = _decoder()
  params, target, _ = _trained()
  config = sampler.SamplerConfig(
    num_generations=_DRAWS // 10, completion_tokens=3
  )
  generate = jax.jit(
    functools.partial(
      sampler.generate,
      model,
      config=config,
      stop_ids=(testing.EOS,),
      pad_id=testing.PAD,
    )
  )
  # A completion as a number to base 4, 0 beyond its end.
  codes = lambda tokens, mask: np.asarray(
    ((tokens + 1) * (mask > 0)) @ np.array([16, 4, 1])
  )
  counts = np.zeros(64)
  for seed in range(10):
    drawn = generate(params, prompts, jax.random.key(seed))
    mask = np.asarray(drawn.completion_mask)
    found = codes(np.asarray(drawn.completion_tokens), mask)
    counts += np.bincount(found, minlength=64)
  found = counts[codes(_DECODED.tokens, _DECODED.mask)] / _DRAWS
  assert found.sum() == 1.0
  assert _distance(found, _chances(params)) < 0.01
  assert _distance(found, target) < 0.02


def _snapshots(policy_lr: float, z_lr: float, steps: int):
  """A decoder and a scalar log-partition, one update per snapshot.

  Returns:
    Final parameters, log-partition, and the accuracies of all snapshots.
  """
  _, start, _, graded = _decoder()
  verdicts = (graded > 0.5).astype(jnp.float32)
  kappa = 20.0

  def loss(learned):
    params, z = learned
    live = _scores(params)
    frozen = lax.stop_gradient(live)
    return credit.whole_loss(
      _method(anchor="old_logprobs"),
      {
        "logprobs": live,
        "old_logprobs": frozen,
        "log_partition": jnp.full(15, z),
        "completion_mask": jnp.asarray(_DECODED.mask),
        "rewards": verdicts,
        "inv_temp": jnp.asarray(kappa),
        "valid": jnp.exp(jnp.sum(frozen, axis=1)),
      },
    )[0]

  def step(learned, _):
    params, z = learned
    slopes, slope = jax.grad(loss)(learned)
    descend = lambda x, slope: x - policy_lr * slope
    accuracy = jnp.exp(jnp.sum(_scores(params), axis=1)) @ verdicts
    return (jax.tree.map(descend, params, slopes), z - z_lr * slope), accuracy

  run = jax.jit(lambda x: lax.scan(step, x, length=steps))
  (_, z), accuracies = run((start, jnp.asarray(10.0)))
  return float(z) / kappa, np.asarray(accuracies), verdicts


@pytest.mark.slow
def test_a_decoder_held_still_shows_its_accuracy_and_no_partition():
  estimate, accuracies, verdicts = _snapshots(0.0, 0.1, 200)
  exact = float(_chances(_decoder()[1]) @ verdicts)
  np.testing.assert_allclose(accuracies, exact, rtol=1e-5)
  assert 0.1 < exact < 0.9
  # And not log(1 - p + p e^20) / 20, which is near 1 for any such p.
  assert estimate == pytest.approx(exact, abs=1e-4)


@pytest.mark.slow
def test_a_decoder_with_a_moving_anchor_keeps_its_accuracy_in_sight():
  estimate, accuracies, _ = _snapshots(2e-5, 0.1, 200)
  assert accuracies[-1] > accuracies[0] + 0.02
  assert estimate == pytest.approx(accuracies[-1], abs=5e-3)
