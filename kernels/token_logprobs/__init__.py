"""Log-probability, entropy and mean log-probability of tokens, fused.

The three numbers that almost every objective needs, straight from hidden
states, without the f32[N, V] array of logits.
"""

import chex
import jax
import jax.numpy as jnp

from kernels.token_logprobs import chunked_xla
from kernels.token_logprobs import reference

_IMPLEMENTATIONS = {
  "chunked_xla": chunked_xla.token_logprobs,
  "reference": reference.token_logprobs,
}


def token_logprobs(
  hidden: jax.Array,
  unembedding: jax.Array,
  targets: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  implementation: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Statistics of softmax(hidden @ unembedding / temperature) per row.

  Differentiable in hidden and unembedding; the temperature is a constant.

  Args:
    hidden: float[N, D], after the final norm.
    unembedding: float[D, V].
    targets: i32[N], the tokens taken.
    temperature: above 0.
    implementation: "chunked_xla" (the default) or "reference".

  Returns:
    logprobs f32[N] of the targets, entropies f32[N] over the full vocabulary
    and mean log-probabilities f32[N] over the vocabulary, in nats.

  Raises:
    ValueError: if the implementation is unknown.
  """
  chex.assert_rank([hidden, unembedding, targets], [2, 2, 1])
  chex.assert_equal(hidden.shape, (targets.shape[0], unembedding.shape[0]))
  name = implementation or "chunked_xla"
  if name not in _IMPLEMENTATIONS:
    raise ValueError(
      f"implementation is {name!r}; choose one of {sorted(_IMPLEMENTATIONS)}"
    )
  return _IMPLEMENTATIONS[name](
    hidden, unembedding, targets, jnp.asarray(temperature, jnp.float32)
  )
