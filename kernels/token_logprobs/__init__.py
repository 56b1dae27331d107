"""Log-probability, entropy and mean log-probability of tokens, fused.

The numbers that almost every objective needs, straight from hidden states,
without the f32[N, V] array of logits:

  reference    all logits at once: the definition.
  chunked_xla  blocks of rows and of the vocabulary, in plain JAX.
  pallas_tpu   one kernel per pass, for TPUs.
  pallas_gpu   one kernel per pass, for NVIDIA GPUs.

All but the reference share one gradient, in `fused`.
"""

from collections.abc import Callable
import functools

import chex
import jax
import jax.numpy as jnp

from rlvr_jax.kernels import implementations
from rlvr_jax.kernels import partition as partition_lib
from rlvr_jax.kernels.token_logprobs import fused
from rlvr_jax.kernels.token_logprobs.fused import TokenStatistics

_ON_EVERY_BACKEND = ("chunked_xla", "reference")
_ON_BACKEND = {"tpu": ("pallas_tpu",), "gpu": ("pallas_gpu",)}
# Taken unasked. Not on GPUs: jax 0.11 deprecates the way that kernel compiles.
_DEFAULT = {"tpu": "pallas_tpu"}


def token_logprobs(
  hidden: jax.Array,
  unembedding: jax.Array,
  targets: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  implementation: str | None = None,
  partition: partition_lib.Partition | None = None,
) -> TokenStatistics:
  """Statistics of softmax(hidden @ unembedding / temperature) per row.

  Differentiable in hidden and unembedding; the temperature is a constant.
  Products are summed in float32; operands of two types are taken in float32.

  Args:
    hidden: float[N, D], after the final norm.
    unembedding: float[D, V].
    targets: i32[N], the tokens taken.
    temperature: above 0, a number or f32[].
    implementation: "chunked_xla", "pallas_tpu", "pallas_gpu" or "reference".
      None takes "pallas_tpu" on a TPU, where it suits the shapes, and else
      "chunked_xla"; without a partition, which says how to split a kernel,
      "pallas_tpu" is for a single device alone.
    partition: how rows and vocabulary lie on several devices.

  Returns:
    TokenStatistics.

  Raises:
    ValueError: if the backend has no such implementation.
  """
  chex.assert_rank([hidden, unembedding, targets], [2, 2, 1])
  chex.assert_equal(hidden.shape, (targets.shape[0], unembedding.shape[0]))
  function = _function(hidden, unembedding, implementation, partition)
  if not targets.shape[0]:
    return TokenStatistics(*[jnp.zeros(0)] * 4)
  temperature = jnp.asarray(temperature, jnp.float32)
  return function(hidden, unembedding, targets, temperature)


def _function(
  hidden,
  unembedding,
  name: str | None,
  partition: partition_lib.Partition | None = None,
) -> Callable:
  """The implementation of a name, or the default one."""
  platform = partition_lib.platform_of(partition)
  if name is not None:
    implementations.require(name, platform, _ON_EVERY_BACKEND, _ON_BACKEND)
  module = functools.partial(implementations.module, __name__)
  if partition and not partition.divides(hidden.shape[0], unembedding.shape[1]):
    partition = None
  if name is None:
    name = "chunked_xla"
    kernel = _DEFAULT.get(platform)
    if kernel and (partition or jax.device_count() == 1):
      name = kernel if module(kernel).suits(hidden, unembedding) else name
  if not partition or name == "reference":
    return module(name).token_logprobs
  settings = {}
  if name == "chunked_xla":
    settings = dict(platform=platform, num_devices=1)
  return fused.differentiable(module(name).passes(**settings), partition)
