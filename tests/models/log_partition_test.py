"""The log-partition head starts as the accuracy it is told."""

import jax
import jax.numpy as jnp
import numpy as np

from rlvr_jax.models import log_partition


def test_initial_values_are_inv_temp_times_accuracy():
  head = log_partition.LogPartition(inv_temp=20.0, initial_accuracy=0.25)
  embedding = jax.random.normal(jax.random.key(0), (3, 8))
  params = head.init(jax.random.key(1), embedding)
  np.testing.assert_allclose(
    head.apply(params, embedding), [5.0] * 3, rtol=1e-6
  )


def test_it_computes_in_float32_and_learns_from_its_input():
  head = log_partition.LogPartition(inv_temp=2.0)
  embedding = jax.random.normal(jax.random.key(0), (3, 8))
  params = head.init(jax.random.key(1), embedding)
  low = embedding.astype(jnp.bfloat16)
  assert head.apply(params, low).dtype == jnp.float32
  gradient = jax.grad(lambda p: jnp.sum(head.apply(p, embedding)))(params)
  # Bias: inv_temp for each of three prompts.
  np.testing.assert_allclose(gradient["params"]["accuracy"]["bias"], [6.0])
  assert np.abs(gradient["params"]["accuracy"]["kernel"]).max() > 0
