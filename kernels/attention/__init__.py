"""Causal attention by kernels that come with JAX, without all scores at once.

  reference  all scores at once: the definition.
  splash     JAX's Pallas kernel for TPUs.
  cudnn      `jax.nn.dot_product_attention` by cuDNN, for NVIDIA GPUs.

Shape letters: B rows, N query heads, K key/value heads, T queries, S keys, H
head width.
"""

from collections.abc import Callable
import importlib

import chex
import jax

_ON_EVERY_BACKEND = ("reference",)
_ON_BACKEND = {"tpu": ("splash",), "gpu": ("cudnn",)}


def causal_attention(
  queries: jax.Array,
  keys: jax.Array,
  values: jax.Array,
  is_real: jax.Array,
  *,
  window: int = 0,
  implementation: str | None = None,
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
    window: tokens that a query sees, itself included; 0 for all.
    implementation: "splash", "cudnn" or "reference"; None takes what
      `suitable` names, or else "reference".

  Returns:
    float[B, N, T, H].

  Raises:
    ValueError: if the backend has no such implementation.
  """
  chex.assert_rank([queries, keys, values, is_real], [4, 4, 4, 2])
  chex.assert_equal_shape([keys, values])
  name = implementation or suitable(queries, keys) or "reference"
  backend = jax.default_backend()
  available = _ON_BACKEND.get(backend, ()) + _ON_EVERY_BACKEND
  if name not in available:
    raise ValueError(
      f"implementation is {name!r}, and this backend, {backend}, has"
      f" {', '.join(available)}: choose one of these, or None for the default"
    )
  return _module(name).attention(queries, keys, values, is_real, window)


def suitable(queries: jax.Array, keys: jax.Array) -> str | None:
  """The kernel for such arrays on this backend; None where XLA does as well.

  None on several devices: the compiler cannot split a kernel over them.
  """
  if jax.device_count() > 1:
    return None
  for name in _ON_BACKEND.get(jax.default_backend(), ()):
    if _module(name).suits(queries, keys):
      return name
  return None


def _module(name: str) -> Callable:
  # Imported where used: Pallas takes longer to import than most calls take.
  return importlib.import_module(f"{__name__}.{name}")
