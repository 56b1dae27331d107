"""Scoring with shared prompts equals the plain pass over whole rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax.rollouts import prefix as prefix_lib
from rlvr_jax.rollouts import scoring
from tests import testing


def _whole_rows(model, params, batch, temperature):
  """Scores by one causal pass over each row, [real prompt | completion]."""
  unembedding = params["lm_head"]
  samples = batch.group_ids.shape[0] // batch.prompts.prompt_ids.shape[0]
  rows = []
  completions = np.asarray(batch.completion_tokens)
  for b, completion in enumerate(completions):
    prompt = b // samples
    real = np.asarray(batch.prompts.prompt_mask[prompt]) > 0
    tokens = np.asarray(batch.prompts.prompt_tokens[prompt])[real]
    row = jnp.asarray(np.concatenate([tokens, completion]))[None]
    hidden = testing.hidden_states(model, params, row)
    log_probs = jax.nn.log_softmax(hidden[0] @ unembedding / temperature)
    predicted = log_probs[len(tokens) - 1 : -1]
    rows.append(
      (
        jnp.take_along_axis(predicted, jnp.asarray(completion)[:, None], 1)[
          :, 0
        ],
        -jnp.sum(jnp.exp(predicted) * predicted, axis=1),
        jnp.mean(predicted, axis=1),
      )
    )
  return [jnp.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_shared_prompts_equal_whole_rows(samples, temperature):
  model, params = testing.tiny_model()
  batch = testing.rollout_batch(num_prompts=3, samples=samples)
  scores = testing.score(
    model, params, batch.prompts, batch.completion_tokens, temperature
  )
  plain = _whole_rows(model, params, batch, temperature)
  inside = np.asarray(batch.completion_mask) > 0
  for ours, theirs in zip(
    (scores.logprobs, scores.entropies, scores.mean_logprobs),
    plain,
    strict=True,
  ):
    np.testing.assert_allclose(
      np.asarray(ours)[inside], np.asarray(theirs)[inside], atol=1e-5
    )


def test_gradients_through_shared_prompts_equal_those_of_whole_rows():
  model, params = testing.tiny_model()
  batch = testing.rollout_batch(num_prompts=2, samples=2, length=3)
  mask = batch.completion_mask

  def shared(params):
    scores = scoring.score_completions(
      model, params, batch.prompts, batch.completion_tokens
    )
    return jnp.sum(jnp.where(mask > 0, scores.logprobs, 0.0))

  def whole(params):
    logprobs = _whole_rows(model, params, batch, 1.0)[0]
    return jnp.sum(jnp.where(mask > 0, logprobs, 0.0))

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    jax.jit(jax.grad(shared))(params),
    jax.grad(whole)(params),
  )


def test_whole_tiles_of_tokens_are_all_read(monkeypatch):
  model, params = testing.tiny_model()
  batch = testing.rollout_batch(length=6)
  arguments = params, batch.prompts, batch.completion_tokens
  usual = testing.score(model, *arguments)
  monkeypatch.setattr(scoring, "_TILE", 3)
  tiles = jax.jit(lambda *x: scoring.score_completions(model, *x))(*arguments)
  assert tiles.logprobs.shape == usual.logprobs.shape
  for ours, theirs in zip(
    jax.tree.leaves(tiles), jax.tree.leaves(usual), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_completions_of_one_token():
  model, params = testing.tiny_model()
  batch = testing.rollout_batch(length=1)
  scores = testing.score(model, params, batch.prompts, batch.completion_tokens)
  assert scores.logprobs.shape == (8, 1)


def test_the_prompt_embedding_is_the_mean_over_real_tokens():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(2, 5)
  wider = prompts.replace(
    prompt_tokens=jnp.pad(prompts.prompt_tokens, ((0, 0), (3, 0))),
    prompt_mask=jnp.pad(prompts.prompt_mask, ((0, 0), (3, 0))),
  )
  read = jax.jit(prefix_lib.read_prompts, static_argnums=0)
  narrow = read(model, params, prompts)
  padded = read(model, params, wider)
  np.testing.assert_allclose(
    narrow.embeddings, padded.embeddings, rtol=1e-5, atol=1e-6
  )
  np.testing.assert_allclose(
    narrow.last_hidden, padded.last_hidden, rtol=1e-5, atol=1e-6
  )
