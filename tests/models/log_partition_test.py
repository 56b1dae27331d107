"""The log-partition head starts as the number it is told."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.models import log_partition


def _embeddings():
  return jax.random.normal(jax.random.key(0), (3, 8))


def test_it_starts_as_its_initial_value_everywhere():
  head = log_partition.LogPartition(initial=0.25)
  params = head.init(jax.random.key(1), _embeddings())
  np.testing.assert_array_equal(head.apply(params, _embeddings()), [0.25] * 3)


def test_it_computes_in_float32_and_learns_from_its_input():
  head = log_partition.LogPartition()
  embeddings = _embeddings()
  params = head.init(jax.random.key(1), embeddings)
  low = embeddings.astype(jnp.bfloat16)
  assert head.apply(params, low).dtype == jnp.float32
  gradient = jax.grad(lambda p: jnp.sum(head.apply(p, embeddings)))(params)
  # Bias: 1 for each of three prompts.
  np.testing.assert_allclose(gradient["params"]["value"]["bias"], [3.0])
  assert np.abs(gradient["params"]["value"]["kernel"]).max() > 0


def test_it_has_three_layers_of_the_width_of_its_input():
  shapes = jax.tree.map(
    jnp.shape,
    log_partition.LogPartition().init(jax.random.key(1), _embeddings()),
  )["params"]
  assert shapes["hidden_0"]["kernel"] == shapes["hidden_1"]["kernel"] == (8, 8)
  assert shapes["value"]["kernel"] == (8, 1)
  assert shapes.keys() == {"hidden_0", "norm_0", "hidden_1", "norm_1", "value"}
