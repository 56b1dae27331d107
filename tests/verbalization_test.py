"""Markers of a run: on device, in texts, and suppressed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import keys
from rlvr_jax import verbalization
from rlvr_jax.data import vocabulary
from rlvr_jax.rollouts import sampler
from tests import testing

_V = vocabulary.ARITHMETIC
_CONFIG = verbalization.EpistemicConfig(words=("?",))


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(), "give one of the two"),
    (dict(preset="sdd10", words=("?",)), "give one of the two"),
    (dict(preset="sdd11"), "did you mean 'sdd10'"),
  ],
)
def test_one_list_is_chosen(settings, message):
  with pytest.raises(errors.UserError, match=message):
    verbalization.EpistemicConfig(**settings)


def test_a_vocabulary_without_markers_is_refused():
  config = verbalization.EpistemicConfig(preset="sdd10")
  with pytest.raises(errors.UserError, match="none of which is one of the 32"):
    verbalization.token_table(config, _V)
  assert verbalization.token_table(None, _V) is None


def test_tokens_and_texts_are_counted_alike():
  table = verbalization.token_table(_CONFIG, _V)
  assert np.flatnonzero(table).tolist() == [_V.id("?")]
  texts = ["1+1=2?1+2=3", "??", "1+2=3"]
  tokens = np.zeros((3, 14), np.int32)
  for row, text in zip(tokens, texts, strict=True):
    ids = (*_V.encode(text), _V.eos_id)
    row[: len(ids)] = ids
  tokens[2, 6:] = 0  # the last one has its end token
  correct = np.array([1.0, 0.0, 1.0], np.float32)
  words = verbalization.text_metrics(tokens, correct > 0, _V, _CONFIG.markers)
  mask = (tokens != 0).astype(np.float32)
  batch = testing.rollout_batch(num_prompts=3, samples=1, length=14)
  batch = batch.replace(
    completion_tokens=jnp.asarray(tokens),
    completion_mask=jnp.asarray(mask),
    is_correct=jnp.asarray(correct),
  )
  found = verbalization.rollout_metrics(batch, table)
  for device, host in (
    ("marker_tokens_mean", "count_mean"),
    ("marker_tokens_per_1k", "per_1k_tokens"),
  ):
    for end in ("", "/correct", "/incorrect"):
      np.testing.assert_allclose(
        found[f"epistemic/{device}{end}"],
        words[f"epistemic/{host}{end}"],
        rtol=1e-6,
      )
  assert words["length/clip_frac"] == 0
  # A row that was not judged is not counted.
  dropped = batch.replace(valid=jnp.array([1.0, 0.0, 1.0]))
  found = verbalization.rollout_metrics(dropped, table)
  assert found["epistemic/marker_tokens_mean"] == 0.5


# T19 of the dossier, at the sampler.
def test_a_suppressed_token_is_never_sampled():
  model, params = testing.tiny_model()
  prompts = testing.prompt_batch(4, 5)
  generate = functools.partial(
    sampler.generate,
    model,
    params,
    prompts,
    keys.stream_key(0, "sample"),
    config=sampler.SamplerConfig(num_generations=32, completion_tokens=8),
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )
  table = np.arange(11) == 7
  free = jax.jit(generate)()
  biased = jax.jit(
    lambda: generate(logit_bias=jnp.asarray(verbalization.suppressing(table)))
  )()
  count = lambda batch: int(
    jnp.sum((batch.completion_tokens == 7) & (batch.completion_mask > 0))
  )
  assert count(free) > 0
  assert count(biased) == 0
  # Its log-probabilities are those of the biased policy: they sum to 1.
  probs = jax.nn.softmax(jnp.array([0.0, 0.0]) + jnp.array([-100.0, 0.0]))
  assert float(probs[0]) < 1e-40
  assert probs[1] == 1.0
