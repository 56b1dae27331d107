"""The sampler: its log-probs are the trainer's, its draws its coordinates'."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import keys
from rlvr_jax import sharding
from rlvr_jax.data import prompts as prompts_lib
from rlvr_jax.rollouts import sampler
from tests import testing

_KEY = keys.stream_key(5, "sample", 2)


def _generate(model, params, prompts, samples=3, length=6, **settings):
  config = sampler.SamplerConfig(
    num_generations=samples, completion_tokens=length, **settings
  )
  run = jax.jit(
    functools.partial(
      sampler.generate,
      model,
      config=config,
      stop_ids=(testing.EOS,),
      pad_id=testing.PAD,
    )
  )
  return run(params, prompts, _KEY)


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize(
  "settings",
  [{}, {"temperature": 0.7}, {"temperature": 1.3, "top_k": 5, "top_p": 0.9}],
)
def test_sampler_and_trainer_agree_on_every_token(settings, scan_layers):
  model, params = testing.tiny_model(scan_layers=scan_layers)
  prompts = testing.prompt_batch(4, 5)
  batch = _generate(model, params, prompts, **settings)
  scores = testing.score(
    model,
    params,
    prompts,
    batch.completion_tokens,
    settings.get("temperature", 1.0),
  )
  mask = batch.completion_mask
  pairs = (
    (batch.sampler_logprobs + batch.log_kept_mass, scores.logprobs),
    (batch.frozen_entropies, scores.entropies),
    (batch.frozen_mean_logprobs, scores.mean_logprobs),
  )
  for sampled, trained in pairs:
    np.testing.assert_allclose(sampled * mask, trained * mask, atol=1e-5)


def test_rows_end_with_the_end_token_and_then_pad():
  model, params = testing.tiny_model()
  batch = _generate(model, params, testing.prompt_batch(8, 5), samples=8)
  tokens = np.asarray(batch.completion_tokens)
  mask = np.asarray(batch.completion_mask)
  assert 0 < batch.finished.mean() < 1  # both kinds are there to be tested
  for row, row_mask, finished in zip(
    tokens, mask, np.asarray(batch.finished), strict=True
  ):
    ends = np.flatnonzero(row == testing.EOS)
    length = ends[0] + 1 if len(ends) else len(row)
    assert finished == bool(len(ends))
    np.testing.assert_array_equal(row_mask, np.arange(len(row)) < length)
    assert np.all(row[length:] == testing.PAD)
  for field in (
    batch.sampler_logprobs,
    batch.log_kept_mass,
    batch.frozen_entropies,
    batch.frozen_mean_logprobs,
  ):
    np.testing.assert_array_equal(np.asarray(field)[mask == 0], 0)


def test_rows_lie_prompt_by_prompt():
  model, params = testing.tiny_model()
  batch = _generate(model, params, testing.prompt_batch(2, 5), samples=3)
  np.testing.assert_array_equal(batch.group_ids, [0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(batch.sample_index, [0, 1, 2, 0, 1, 2])


def test_a_prompt_is_answered_the_same_in_any_batch():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(6, 5)
  together = np.asarray(
    _generate(model, params, prompts, samples=2).completion_tokens
  ).reshape(6, 2, -1)
  order = jnp.array([4, 0])
  apart = np.asarray(
    _generate(
      model, params, prompts_lib.take(prompts, order), samples=2
    ).completion_tokens
  ).reshape(2, 2, -1)
  np.testing.assert_array_equal(apart, together[np.asarray(order)])


def test_more_samples_or_a_longer_bucket_keep_the_first_draws():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(3, 5)
  small = _generate(model, params, prompts, samples=2, length=4)
  large = _generate(model, params, prompts, samples=5, length=9)
  np.testing.assert_array_equal(
    np.asarray(small.completion_tokens).reshape(3, 2, 4),
    np.asarray(large.completion_tokens).reshape(3, 5, 9)[:, :2, :4],
  )


def test_prompt_padding_changes_nothing():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(3, 5)
  wider = prompts.replace(
    prompt_tokens=jnp.pad(prompts.prompt_tokens, ((0, 0), (4, 0))),
    prompt_mask=jnp.pad(prompts.prompt_mask, ((0, 0), (4, 0))),
  )
  np.testing.assert_array_equal(
    _generate(model, params, prompts).completion_tokens,
    _generate(model, params, wider).completion_tokens,
  )


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2), (1, 4, 1)])
def test_devices_change_no_draw(shape):
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(8, 5)
  alone = _generate(model, params, prompts)
  mesh = sharding.make_mesh(sharding.MeshConfig(*shape))
  spread = _generate(
    model,
    jax.device_put(params, sharding.replicated(mesh)),
    jax.device_put(prompts, sharding.row_sharding(mesh)),
  )
  np.testing.assert_array_equal(
    spread.completion_tokens, alone.completion_tokens
  )
  np.testing.assert_allclose(
    spread.sampler_logprobs, alone.sampler_logprobs, atol=1e-5
  )


def test_temperature_zero_takes_the_most_likely_token():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(3, 5)
  batch = _generate(model, params, prompts, samples=2, temperature=0.0)
  tokens = np.asarray(batch.completion_tokens).reshape(3, 2, -1)
  np.testing.assert_array_equal(tokens[:, 0], tokens[:, 1])
  np.testing.assert_allclose(batch.sampler_logprobs, 0.0, atol=1e-6)


def test_samples_follow_the_policy():
  """First tokens of many samples against the model's own distribution."""
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(1, 4)
  samples = 4000
  batch = _generate(model, params, prompts, samples=samples, length=1)
  frequencies = (
    np.bincount(np.asarray(batch.completion_tokens)[:, 0], minlength=11)
    / samples
  )
  every_token = jnp.arange(11)[:, None]
  scores = testing.score(model, params, prompts, every_token)
  probs = np.exp(scores.logprobs[:, 0])
  # Four standard deviations of a binomial share, plus one sample.
  bound = 4 * np.sqrt(probs * (1 - probs) / samples) + 1 / samples
  assert np.all(np.abs(frequencies - probs) < bound)
