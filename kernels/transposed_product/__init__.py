"""left.T @ right, the gradient of a linear layer's kernel."""

import jax
from jax import lax
import jax.numpy as jnp


def transposed_product(left: jax.Array, right: jax.Array) -> jax.Array:
  """left.T @ right, summed in float32.

  XLA:CPU folds the transpose into the product, whose kernel is then slower
  than a transpose written out and a plain product.

  Args:
    left: float[N, D].
    right: float[N, F].

  Returns:
    f32[D, F].
  """
  folded = lambda left, right: jnp.dot(
    left.T, right, preferred_element_type=jnp.float32
  )
  written_out = lambda left, right: jnp.dot(
    lax.optimization_barrier(left.T),
    right,
    preferred_element_type=jnp.float32,
  )
  return lax.platform_dependent(left, right, cpu=written_out, default=folded)
