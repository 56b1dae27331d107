"""Candidates' log-probabilities in chunks equal those of one softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import ops
from rlvr_jax.kernels import candidate_logprobs


def _arrays(rows=10, width=4, vocab=7):
  keys = jax.random.split(jax.random.key(0), 3)
  return (
    jax.random.normal(keys[0], (rows, width)),
    jax.random.normal(keys[1], (width, vocab)),
    jax.random.randint(keys[2], (rows, 3), 0, vocab),
  )


@pytest.mark.parametrize("chunk_rows", [3, 100])
@pytest.mark.parametrize("whole", [False, True])
def test_values_and_gradients_are_those_of_one_softmax(
  monkeypatch, chunk_rows, whole
):
  monkeypatch.setattr(candidate_logprobs, "_CHUNK_LOGITS", chunk_rows * 7)
  hidden, unembedding, ids = _arrays()

  def plain(hidden, unembedding):
    log_probs = jax.nn.log_softmax(hidden @ unembedding / 0.7)
    return log_probs if whole else jnp.take_along_axis(log_probs, ids, axis=1)

  def ours(hidden, unembedding):
    return ops.candidate_logprobs(
      hidden, unembedding, None if whole else ids, temperature=0.7
    )

  np.testing.assert_allclose(
    ours(hidden, unembedding), plain(hidden, unembedding), atol=1e-5
  )
  weights = jnp.sin(jnp.arange(10.0))[:, None]
  grads = [
    jax.grad(lambda *x, f=f: jnp.sum(weights * f(*x)), argnums=(0, 1))(
      hidden, unembedding
    )
    for f in (ours, plain)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *grads)


@pytest.mark.parametrize("chunk_rows", [3, 100])
def test_top_tokens_are_the_likeliest(monkeypatch, chunk_rows):
  monkeypatch.setattr(candidate_logprobs, "_CHUNK_LOGITS", chunk_rows * 7)
  hidden, unembedding, _ = _arrays()
  found = ops.top_tokens(hidden, unembedding, 4)
  order = np.argsort(-np.asarray(hidden @ unembedding), axis=1)[:, :4]
  np.testing.assert_array_equal(found, order)
