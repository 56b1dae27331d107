"""Our models say what those of `transformers` say, to rounding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("transformers", reason="compares with transformers")

import torch
import transformers

from rlvr_jax.rollouts import sampler
from rlvr_jax.rollouts import scoring
from rlvr_jax.weights import certificate
from tests.parity import made
from tests.parity import read

# The least that counts as a match for float32 logits of size 1 to 5.
_TOLERANCE = 2e-4
_ALL = [
  (family, shape) for family in made.SHAPES for shape in made.SHAPES[family]
]
# Of every family what it has beyond the others; the rest takes longer.
_QUICK = ("plain", "biases", "llama3_rope", "yarn_rope", "windows_yarn")


@pytest.fixture(autouse=True)
def _quiet():
  transformers.logging.set_verbosity_error()
  transformers.logging.disable_progress_bar()


def test_every_family_has_six_shapes():
  assert all(len(shapes) >= 6 for shapes in made.SHAPES.values())


@pytest.mark.parametrize(
  "family, shape",
  [
    pytest.param(*case, marks=() if case[1] in _QUICK else pytest.mark.slow)
    for case in _ALL
  ],
)
def test_logits_are_the_same(family, shape, tmp_path):
  theirs = made.make_model(family, shape)
  # Both layouts of the parameters in turn; one more test compares the two.
  scan_layers = _ALL.index((family, shape)) % 2 == 1
  ours, params = read.model_and_params(made.save(theirs, tmp_path), scan_layers)
  # Longer than every window and than the lengths before rope was stretched.
  prompts = read.left_padded([13, 1, 6], 13)
  completions = np.random.default_rng(1).integers(3, 61, (3, 11))
  want = certificate.torch_logits(theirs, prompts, completions)
  # The first prompt fills its bucket, so that its row has no pads.
  row = np.concatenate([prompts.prompt_tokens[:1], completions[:1]], axis=1)
  whole = certificate.logits_of_rows(ours, params, jnp.asarray(row))
  np.testing.assert_allclose(whole, want[:1], rtol=0, atol=_TOLERANCE)
  decoded = certificate.logits_by_decoding(
    ours, params, prompts, jnp.asarray(completions)
  )
  np.testing.assert_allclose(decoded, want[:, 12:], rtol=0, atol=_TOLERANCE)


@pytest.mark.parametrize("family", made.SHAPES)
def test_logprobs_and_entropies_are_those_of_torch(family, tmp_path):
  shape = list(made.SHAPES[family])[1]
  theirs = made.make_model(family, shape)
  ours, params = read.model_and_params(made.save(theirs, tmp_path))
  prompts = read.left_padded([7, 4], 7)
  completions = np.random.default_rng(1).integers(3, 61, (4, 9))
  scores = jax.jit(scoring.score_completions, static_argnums=0)(
    ours, params, prompts, jnp.asarray(completions)
  )
  doubled = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), prompts)
  logits = certificate.torch_logits(theirs, doubled, completions)[:, 6:-1]
  logprobs = torch.log_softmax(torch.tensor(logits), dim=-1)
  taken = logprobs.gather(-1, torch.tensor(completions)[..., None])[..., 0]
  entropies = -(logprobs.exp() * logprobs).sum(-1)
  np.testing.assert_allclose(scores.logprobs, taken, rtol=0, atol=1e-4)
  np.testing.assert_allclose(scores.entropies, entropies, rtol=0, atol=1e-4)
  np.testing.assert_allclose(
    jnp.sum(scores.logprobs, axis=1), taken.sum(dim=1), rtol=0, atol=1e-4
  )


@pytest.mark.parametrize("family", made.SHAPES)
def test_greedy_texts_are_those_of_generate(family, tmp_path):
  theirs = made.make_model(family, "plain", seed=1)
  ours, params = read.model_and_params(made.save(theirs, tmp_path))
  prompts = read.left_padded([1 + i % 9 for i in range(20)], 9, seed=2)
  config = sampler.SamplerConfig(
    num_generations=1, completion_tokens=16, temperature=0.0
  )
  rollouts = jax.jit(
    lambda params: sampler.generate(
      ours,
      params,
      prompts,
      jax.random.key(0),
      config=config,
      stop_ids=(2,),
      pad_id=0,
    )
  )(params)
  with torch.no_grad():
    texts = theirs.generate(
      torch.tensor(np.asarray(prompts.prompt_tokens)).long(),
      attention_mask=torch.tensor(np.asarray(prompts.prompt_mask)).long(),
      generation_config=transformers.GenerationConfig(
        max_new_tokens=16, do_sample=False, eos_token_id=2, pad_token_id=0
      ),
    ).numpy()[:, 9:]
  padded = np.zeros((20, 16), int)
  padded[:, : texts.shape[1]] = texts
  np.testing.assert_array_equal(rollouts.completion_tokens, padded)


@pytest.mark.parametrize("family", made.SHAPES)
def test_scanned_layers_hold_the_same_parameters(family, tmp_path):
  folder = made.save(made.make_model(family, "plain"), tmp_path)
  _, unrolled = read.model_and_params(folder)
  _, scanned = read.model_and_params(folder, scan_layers=True)
  for layer in range(2):
    jax.tree.map(
      lambda one, all_, layer=layer: np.testing.assert_array_equal(
        one, all_[layer]
      ),
      unrolled[f"layers_{layer}"],
      scanned["layers"],
    )


def test_bfloat16_activations_stay_near(tmp_path):
  theirs = made.make_model("qwen3", "plain")
  ours, params = read.model_and_params(made.save(theirs, tmp_path))
  coarse = type(ours)(dataclasses.replace(ours.config, dtype="bfloat16"))
  tokens = jnp.asarray(np.random.default_rng(0).integers(3, 61, (2, 9)))
  exact = certificate.logits_of_rows(ours, params, tokens)
  rounded = certificate.logits_of_rows(coarse, params, tokens).astype(
    jnp.float32
  )
  # bfloat16 keeps eight bits: a hundredth of a logit of 4, summed over layers.
  np.testing.assert_allclose(rounded, exact, rtol=0, atol=0.25)
