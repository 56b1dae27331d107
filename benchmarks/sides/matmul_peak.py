"""What the machine makes of plain matrix products: the roof of any step."""

import time

import jax
import jax.numpy as jnp

from benchmarks import workload

_ROUNDS = 5
# Operations of one measurement: long enough for the clock.
_FLOPS = 2e9
_ROWS = 8192


def shapes(size: workload.Size) -> tuple[tuple[int, int, int], ...]:
  """(rows, inner, columns) of the products: the MLP's, and a large square."""
  return (
    (_ROWS, size.width, size.ffn),
    (_ROWS, size.ffn, size.width),
    (2048, 2048, 2048),
  )


def measure(size: workload.Size, dtype: str) -> float:
  """The most operations per second that any of the products reaches."""
  return max(_flops_per_s(*shape, dtype) for shape in shapes(size))


def _flops_per_s(rows: int, inner: int, columns: int, dtype: str) -> float:
  flops = 2.0 * rows * inner * columns
  repeats = max(3, int(_FLOPS / flops))
  product = jax.jit(jnp.matmul)
  a, b = jnp.ones((rows, inner), dtype), jnp.ones((inner, columns), dtype)
  jax.block_until_ready(product(a, b))
  best = float("inf")
  for _ in range(_ROUNDS):
    started = time.perf_counter()
    for _ in range(repeats):
      out = product(a, b)
    jax.block_until_ready(out)
    best = min(best, (time.perf_counter() - started) / repeats)
  return flops / best
