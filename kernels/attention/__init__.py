"""Causal attention by kernels that come with JAX, without all scores at once.

  reference  all scores at once: the definition.
  splash     JAX's Pallas kernel for TPUs.
  cudnn      `jax.nn.dot_product_attention` by cuDNN, for NVIDIA GPUs.

Shape letters: B rows, N query heads, K key/value heads, T queries, S keys, H
head width.
"""

import functools

import chex
import jax
from jax.sharding import PartitionSpec

from rlvr_jax.kernels import implementations
from rlvr_jax.kernels import partition as partition_lib

_ON_EVERY_BACKEND = ("reference",)
_ON_BACKEND = {"tpu": ("splash",), "gpu": ("cudnn",)}
# Of fewer queries all scores at once are no burden. # ours
_LEAST_QUERIES = 128

_module = functools.partial(implementations.module, __name__)


def causal_attention(
  queries: jax.Array,
  keys: jax.Array,
  values: jax.Array,
  is_real: jax.Array,
  *,
  window: int = 0,
  implementation: str | None = None,
  partition: partition_lib.Partition | None = None,
) -> jax.Array:
  """Softmax attention of T queries that are the last of S tokens.

  Each query sees the real tokens up to its own. Differentiable in queries,
  keys and values. What the query of a token that is not real gives is finite,
  and else anything.

  Args:
    queries: float[B, N, T, H], rotated, not scaled.
    keys: float[B, K, S, H], S >= T; K divides N.
    values: float[B, K, S, H].
    is_real: bool[B, S].
    window: tokens that a query sees, itself included; 0 for all. With one,
      tokens that are not real stand before or after all others.
    implementation: "splash", "cudnn" or "reference"; None takes what
      `suitable` names, or else "reference".
    partition: how rows and heads lie on several devices.

  Returns:
    float[B, N, T, H].

  Raises:
    ValueError: if the backend has no such implementation.
  """
  chex.assert_rank([queries, keys, values, is_real], [4, 4, 4, 2])
  chex.assert_equal_shape([keys, values])
  name = implementation or suitable(queries, keys, partition) or "reference"
  platform = partition_lib.platform_of(partition)
  implementations.require(name, platform, _ON_EVERY_BACKEND, _ON_BACKEND)
  attend = functools.partial(_module(name).attention, window=window)
  if partition and _parts(queries, keys, partition) > 1:
    rows = partition.rows or None
    heads = PartitionSpec(rows, partition.features)
    attend = partition_lib.over_parts(
      attend, partition, (heads, heads, heads, PartitionSpec(rows)), heads
    )
  return attend(queries, keys, values, is_real)


def suitable(
  queries: jax.Array,
  keys: jax.Array,
  partition: partition_lib.Partition | None = None,
) -> str | None:
  """The kernel for such arrays; None where all scores at once do as well.

  None, too, on several devices without a partition that divides the arrays:
  the compiler cannot split a kernel.
  """
  if (
    queries.shape[2] < _LEAST_QUERIES
    or queries.dtype != keys.dtype
    or not _parts(queries, keys, partition)
  ):
    return None
  for name in _ON_BACKEND.get(partition_lib.platform_of(partition), ()):
    if _module(name).suits(queries):
      return name
  return None


def _parts(queries, keys, partition: partition_lib.Partition | None) -> int:
  """Devices that attend, each with its part; 0 if there is no such way."""
  if not partition:
    return int(jax.device_count() == 1)
  divides = partition.divides(queries.shape[0], queries.shape[1], keys.shape[1])
  return partition.num_parts if divides else 0
