"""Fused token statistics equal the plain definition, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import token_logprobs as package
from kernels.token_logprobs import chunked_xla


def _inputs(rows, width, vocab, seed=0):
  keys = jax.random.split(jax.random.key(seed), 3)
  return (
    jax.random.normal(keys[0], (rows, width)),
    jax.random.normal(keys[1], (width, vocab)),
    jax.random.randint(keys[2], (rows,), 0, vocab),
  )


def _weighted(implementation, temperature):
  """A scalar that mixes all three outputs with different weights."""

  def value(hidden, unembedding, targets, weights):
    outputs = package.token_logprobs(
      hidden,
      unembedding,
      targets,
      temperature=temperature,
      implementation=implementation,
    )
    return sum(jnp.sum(w * x) for w, x in zip(weights, outputs, strict=True))

  return jax.jit(value)


@pytest.mark.parametrize("chunk_logits", [7, 40, 10**6])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize(
  "rows, width, vocab", [(1, 3, 5), (13, 8, 7), (6, 4, 33)]
)
def test_chunks_equal_the_reference(
  monkeypatch, chunk_logits, temperature, rows, width, vocab
):
  monkeypatch.setattr(chunked_xla, "_CHUNK_LOGITS", chunk_logits)
  inputs = _inputs(rows, width, vocab)
  weights = jax.random.normal(jax.random.key(9), (3, rows))
  for get in (lambda f: f, lambda f: jax.jit(jax.grad(f, argnums=(0, 1)))):
    ours = get(_weighted("chunked_xla", temperature))(*inputs, weights)
    plain = get(_weighted("reference", temperature))(*inputs, weights)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5),
      ours,
      plain,
    )


def test_values_of_a_two_way_split():
  # Logits (0, ln 3): probabilities 1/4 and 3/4.
  hidden, unembedding = jnp.ones((1, 1)), jnp.asarray([[0.0, np.log(3.0)]])
  logprobs, entropies, means = package.token_logprobs(
    hidden, unembedding.astype(jnp.float32), jnp.array([1])
  )
  np.testing.assert_allclose(logprobs, [np.log(0.75)], rtol=1e-6)
  np.testing.assert_allclose(
    entropies, [-(0.25 * np.log(0.25) + 0.75 * np.log(0.75))], rtol=1e-6
  )
  np.testing.assert_allclose(
    means, [(np.log(0.25) + np.log(0.75)) / 2], rtol=1e-6
  )


def test_bfloat16_inputs_give_float32_statistics():
  hidden, unembedding, targets = _inputs(9, 16, 12)
  low = lambda x: x.astype(jnp.bfloat16)
  outputs = package.token_logprobs(low(hidden), low(unembedding), targets)
  exact = package.token_logprobs(
    low(hidden).astype(jnp.float32),
    low(unembedding).astype(jnp.float32),
    targets,
  )
  for ours, theirs in zip(outputs, exact, strict=True):
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_no_full_logits_in_forward_or_backward(monkeypatch):
  rows, vocab = 64, 50
  monkeypatch.setattr(chunked_xla, "_CHUNK_LOGITS", 8 * vocab)
  inputs = _inputs(rows, 4, vocab)
  weights = jnp.ones((3, rows))
  text = str(
    jax.make_jaxpr(jax.grad(_weighted(None, 1.0), argnums=(0, 1)))(
      *inputs, weights
    )
  )
  assert f"f32[{rows},{vocab}]" not in text
  assert f"f32[8,{vocab}]" in text


def test_no_rows_give_no_values():
  outputs = package.token_logprobs(
    jnp.zeros((0, 4)), jnp.zeros((4, 6)), jnp.zeros(0, jnp.int32)
  )
  assert [x.shape for x in outputs] == [(0,)] * 3


def test_an_unknown_implementation_is_refused():
  with pytest.raises(ValueError, match="'cuda'; choose one of"):
    package.token_logprobs(*_inputs(1, 2, 3), implementation="cuda")
