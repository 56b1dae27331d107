"""The oracles of expectation on a real decoder, every completion scored.

The library scores completions through its shared prompt prefix; the exact
objective comes from plain causal passes over prompt and completion in one row,
without padding on the left. Each side is pulled back to the parameters through
its own passes. The decoder computes in float32 whatever its inputs, so these
run in that precision alone.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import advantages
from rlvr_jax import losses
from rlvr_jax import objective as objective_lib
from rlvr_jax.rewards import shaping
from rlvr_jax.rollouts import scoring
from tests import testing
from tests.oracles import enumeration

_bound = objective_lib.bound
_PRECISION = enumeration.Precision("float32", 1e-5)
_VOCAB = 4
_TEMPERATURE = 0.7
_TOKEN_SUM = _bound(losses.fixed_length, length=1)
_WIDE = dict(clip_low=math.inf, clip_high=math.inf)


def rewards_alone(*, rewards):
  return rewards


def _model():
  return testing.tiny_model(vocab_size=_VOCAB, num_layers=1)


@functools.cache
def _params(seed):
  """Parameters of policies near each other but clearly different."""
  leaves, structure = jax.tree.flatten(_model()[1])
  rng = np.random.default_rng(seed)
  moved = [
    leaf + 0.1 * jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)
    for leaf in leaves
  ]
  return jax.tree.unflatten(structure, moved)


@functools.cache
def _prompts():
  """Two prompts of unequal lengths."""
  return testing.prompt_batch(2, length=4, vocab_size=_VOCAB, seed=2)


@functools.cache
def _space(length):
  """Completions of up to `length` tokens; any token but the end goes on."""
  return enumeration.space(_VOCAB, length, end=testing.EOS)


def _rewards(length):
  shape = (2, len(_space(length).tokens))
  return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def _scores_of(prompts, params, length):
  """Log-probabilities and entropies of all completions of both prompts."""
  tokens = np.tile(_space(length).tokens, (2, 1))
  scores = scoring.score_completions(
    _model()[0],
    params,
    prompts,
    jnp.asarray(tokens, jnp.int32),
    temperature=_TEMPERATURE,
  )
  return {"logprobs": scores.logprobs, "entropies": scores.entropies}


def _normed_of(prompts, params, length, temperature):
  """Log-probabilities of the whole vocabulary, f32[2, S, T, V]."""
  model, over = _model()[0], _space(length)
  unembedding = model.apply({"params": params}, method="unembedding")
  found = []
  for prompt in (0, 1):
    start = prompts[prompt]
    rows = np.concatenate(
      [np.tile(start, (len(over.tokens), 1)), over.tokens], axis=1
    )
    hidden = testing.hidden_states(model, params, jnp.asarray(rows, jnp.int32))
    logits = hidden[:, len(start) - 1 : -1] @ unembedding / temperature
    found.append(jax.nn.log_softmax(logits, axis=-1))
  return jnp.stack(found)


@functools.cache
def _library(length):
  """Scores, and the pullback of their cotangents to the parameters."""
  scores = functools.partial(_scores_of, _prompts(), length=length)
  pullback = lambda params, cotangents: jax.vjp(scores, params)[1](cotangents)
  return jax.jit(scores), jax.jit(pullback)


@functools.cache
def _plain(length, temperature=_TEMPERATURE):
  """The same by plain passes, for the whole vocabulary."""
  prompts = jax.tree.map(np.asarray, _prompts())
  unpadded = [
    tokens[mask > 0]
    for tokens, mask in zip(
      prompts.prompt_tokens, prompts.prompt_mask, strict=True
    )
  ]
  assert len(unpadded[0]) != len(unpadded[1])
  normed = functools.partial(
    _normed_of, unpadded, length=length, temperature=temperature
  )
  pullback = lambda params, cotangents: jax.vjp(normed, params)[1](cotangents)
  return jax.jit(normed), jax.jit(pullback)


@functools.cache
def _normed(length, seed=0, temperature=_TEMPERATURE):
  return _plain(length, temperature)[0](_params(seed))


def _steps(normed, length):
  """Log-probability of every token, f32[2, S, T]; 0 beyond the end."""
  over = _space(length)
  chosen = np.eye(_VOCAB, dtype=np.float32)[over.tokens]
  chosen *= over.mask[:, :, None]
  return jnp.sum(normed * chosen[None], axis=-1)


def _chances(normed, length):
  """Probability of every completion, f32[2, S]."""
  return jnp.exp(jnp.sum(_steps(normed, length), axis=2))


def _rows(per_prompt):
  """[2, S, ...] -> [2 S, ...]."""
  return per_prompt.reshape(-1, *per_prompt.shape[2:])


def _method(advantage, loss, **changes):
  return objective_lib.Objective(
    **{"aggregate": _TOKEN_SUM} | changes,
    advantage=advantage and _bound(advantage),
    token_loss=loss,
  )


def _estimate(method, length, samples=1, sampler=None, **frozen):
  """Expected gradient of a batch of both prompts.

  Args:
    method: the objective.
    length: largest length of a completion.
    samples: completions of a prompt.
    sampler: f32[2, S, T, V], log-probabilities that samples come from.
    **frozen: other fields, [2, S, T].
  """
  score, pullback = _library(length)
  scores = score(_params(0))
  mask = np.tile(_space(length).mask, (2, 1))

  def fields_of(live):
    return {
      "old_logprobs": scores["logprobs"],
      "completion_mask": jnp.asarray(mask),
      "rewards": jnp.asarray(_rows(_rewards(length))),
      **live,
      **jax.tree.map(_rows, frozen),
    }

  sampler = _normed(length) if sampler is None else sampler
  drawn = enumeration.draws(list(_chances(sampler, length)), samples)
  ascent = enumeration.expected_gradient(method, fields_of, scores, drawn)
  return pullback(_params(0), ascent)


def _exact(value, length):
  """Gradient of value(normed), a number, at the present policy."""
  cotangent = enumeration.gradient(value)(_normed(length))
  return _plain(length)[1](_params(0), cotangent)


def _expected_reward(normed, length):
  """Mean over both prompts."""
  return jnp.sum(_chances(normed, length) * _rewards(length)) / 2


@pytest.mark.parametrize("length", [1, 2, 3])
def test_both_accounts_agree_on_a_distribution(length):
  mask = np.tile(_space(length).mask, (2, 1))
  scores = _library(length)[0](_params(0))
  plain = _rows(_steps(_normed(length), length))
  np.testing.assert_allclose(scores["logprobs"] * mask, plain, atol=1e-5)
  chances = _chances(_normed(length), length)
  np.testing.assert_allclose(jnp.sum(chances, axis=1), [1.0, 1.0], rtol=1e-5)
  # Far from uniform and far from certain.
  top = jnp.max(chances, axis=1)
  assert np.all(top > 1.5 / chances.shape[1]) and np.all(top < 0.9)


@pytest.mark.parametrize(
  "loss", [losses.reinforce, losses.ppo_clip, losses.cispo]
)
def test_reinforce_without_a_baseline_is_unbiased(loss):
  # 1600 batches of two completions of up to three tokens.
  estimate = _estimate(_method(rewards_alone, _bound(loss)), 3)
  exact = _exact(lambda normed: _expected_reward(normed, 3), 3)
  enumeration.assert_equal(estimate, exact, _PRECISION)


@pytest.mark.parametrize(
  "advantage, factor",
  [(advantages.rloo_advantages, 1.0), (advantages.dr_grpo_advantages, 0.5)],
)
def test_group_baselines_leave_the_gradient_or_a_share_of_it(advantage, factor):
  # 13^4 batches of two prompts with two completions each.
  method = _method(advantage, _bound(losses.ppo_clip))
  exact = _exact(lambda normed: factor * _expected_reward(normed, 2), 2)
  enumeration.assert_equal(_estimate(method, 2, samples=2), exact, _PRECISION)


def test_a_mean_over_responses_climbs_the_reward_per_token():
  method = _method(
    rewards_alone,
    _bound(losses.ppo_clip),
    aggregate=_bound(losses.sequence_mean),
  )
  shares = _rewards(3) / _space(3).lengths.astype(np.float32)[None]
  exact = _exact(lambda normed: jnp.sum(_chances(normed, 3) * shares) / 2, 3)
  enumeration.assert_equal(_estimate(method, 3), exact, _PRECISION)
  unbiased = _exact(lambda normed: _expected_reward(normed, 3), 3)
  assert enumeration.error(unbiased, exact) > 0.1


def test_a_divergence_in_the_reward_is_regularised_exactly():
  theirs = _steps(_normed(2, seed=1), 2)
  method = _method(
    advantages.rloo_advantages,
    _bound(losses.reinforce),
    reward_shaping=(_bound(shaping.sequence_kl_penalty, kl_coef=0.5),),
  )

  def value(normed):
    log_ratio = jnp.sum(_steps(normed, 2) - theirs, axis=2)
    divergence = jnp.sum(_chances(normed, 2) * log_ratio) / 2
    return _expected_reward(normed, 2) - 0.5 * divergence

  estimate = _estimate(method, 2, samples=2, ref_logprobs=theirs)
  exact = _exact(value, 2)
  enumeration.assert_equal(estimate, exact, _PRECISION)
  plain = _exact(lambda normed: _expected_reward(normed, 2), 2)
  assert enumeration.error(plain, exact) > 0.1


def _met(values):
  """Mean over the completions met now of a sum over their tokens."""
  chances, mask = _chances(_normed(2), 2), _space(2).mask
  return jnp.sum(chances * jnp.sum(values * mask[None], axis=2)) / 2


def test_the_entropy_bonus_climbs_the_entropy_of_the_prefixes_met():
  method = _method(
    None,
    _bound(losses.reinforce),
    regularizers=(_bound(losses.entropy_bonus, coef=2.0),),
  )
  entropy = lambda normed: -jnp.sum(jnp.exp(normed) * normed, axis=-1)
  exact = _exact(lambda normed: 2.0 * _met(entropy(normed)), 2)
  enumeration.assert_equal(_estimate(method, 2), exact, _PRECISION)


@pytest.mark.parametrize("estimator", [losses.kl_k2, losses.kl_k3])
def test_divergences_in_the_loss_hold_on_the_prefixes_met(estimator):
  reference = _normed(2, seed=1)
  method = _method(
    None,
    _bound(losses.reinforce),
    regularizers=(_bound(estimator, coef=2.0),),
  )

  def value(normed):
    ours, theirs = normed, reference
    if estimator is losses.kl_k3:
      ours, theirs = theirs, ours
    return -2.0 * _met(jnp.sum(jnp.exp(ours) * (ours - theirs), axis=-1))

  estimate = _estimate(method, 2, ref_logprobs=_steps(reference, 2))
  enumeration.assert_equal(estimate, _exact(value, 2), _PRECISION)


@pytest.mark.parametrize(
  "loss",
  [losses.ppo_clip, pytest.param(losses.cispo, marks=pytest.mark.slow)],
)
def test_an_unclipped_ratio_is_exact_on_completions_of_one_token(loss):
  old = _normed(1, seed=1)
  estimate = _estimate(
    _method(rewards_alone, _bound(loss, **_WIDE)),
    1,
    sampler=old,
    old_logprobs=_steps(old, 1),
  )
  exact = _exact(lambda normed: _expected_reward(normed, 1), 1)
  enumeration.assert_equal(estimate, exact, _PRECISION)


def test_importance_weights_undo_a_sampler_of_another_temperature():
  hot = _normed(1, temperature=1.5)
  estimate = lambda **changes: _estimate(
    _method(rewards_alone, _bound(losses.ppo_clip), **changes),
    1,
    sampler=hot,
    sampler_logprobs=_steps(hot, 1),
  )
  exact = _exact(lambda normed: _expected_reward(normed, 1), 1)
  corrected = estimate(
    behavior=(_bound(losses.truncated_importance, cap=math.inf),)
  )
  enumeration.assert_equal(corrected, exact, _PRECISION)
  assert enumeration.error(estimate(), exact) > 0.1


def test_gspo_climbs_the_ratio_of_whole_completions():
  old = _normed(3, seed=1)
  estimate = _estimate(
    _method(
      rewards_alone,
      _bound(losses.gspo, **_WIDE),
      aggregate=_bound(losses.sequence_mean),
    ),
    3,
    sampler=old,
    old_logprobs=_steps(old, 3),
  )
  lengths = _space(3).lengths.astype(np.float32)[None]

  def value(normed):
    gaps = jnp.sum(_steps(normed, 3) - _steps(old, 3), axis=2)
    gain = jnp.exp(gaps / lengths) * _rewards(3)
    return jnp.sum(_chances(old, 3) * gain) / 2

  enumeration.assert_equal(estimate, _exact(value, 3), _PRECISION)
