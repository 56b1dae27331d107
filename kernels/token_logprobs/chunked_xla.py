"""Token statistics in blocks of rows and of the vocabulary, in plain JAX.

No more than f32[R, W] of logits exists at a time, whatever N and V are.
"""

import jax
from jax import lax
import jax.numpy as jnp

from rlvr_jax.kernels.token_logprobs import fused

# Rows and logits of a block at most. A CPU's stays in its caches; an
# accelerator's is worth the start of a few kernels. # ours
_LIMITS = {"cpu": (2**10, 2**21)}
_DEVICE_LIMITS = (2**12, 2**25)


def passes(
  platform: str | None = None, num_devices: int | None = None
) -> fused.Passes:
  """The implementation.

  Args:
    platform: what it is compiled for; None takes the default backend.
    num_devices: over which the compiler spreads rows and vocabulary; None
      takes all there are.
  """

  def block(num_rows: int, num_columns: int) -> tuple[int, int]:
    limits = _LIMITS.get(platform or jax.default_backend(), _DEVICE_LIMITS)
    devices = num_devices or jax.device_count()
    return _block(num_rows, num_columns, *limits, devices)

  def statistics(hidden, unembedding, targets, temperature) -> fused.Sums:
    size, width = block(hidden.shape[0], unembedding.shape[1])
    return _statistics(hidden, unembedding, targets, temperature, size, width)

  return fused.Passes(statistics, _d_logits, block)


def _block(
  num_rows: int, num_columns: int, rows: int, logits: int, devices: int
) -> tuple[int, int]:
  """Rows and columns of a block of at most so many rows and logits."""
  if num_rows * num_columns <= logits:
    return num_rows, num_columns
  if devices == 1:
    size = fused.even_rows(num_rows, rows)
    return size, min(num_columns, max(1, logits // size))
  # A slice of a vocabulary that is split over devices would be gathered on
  # each of them: blocks are of rows alone, the same number on every device.
  shares = max(1, logits // num_columns)
  size = fused.even_rows(num_rows, shares * devices)
  return -(-size // devices) * devices, num_columns


def _logits(hidden, unembedding, temperature):
  return fused.product(hidden, unembedding) / temperature


def _statistics(
  hidden, unembedding, targets, temperature, size, width
) -> fused.Sums:
  num_rows, num_columns = hidden.shape[0], unembedding.shape[1]
  blocks = [fused.split_rows(x, size) for x in (hidden, targets)]

  def step(sums, first, width):
    columns = lax.dynamic_slice_in_dim(unembedding, first, width, axis=1)

    def rows(_, block):
      hidden, targets, sums = block
      logits = _logits(hidden, columns, temperature)
      places = jnp.clip(targets - first, 0, width - 1)[:, None]
      found = jnp.take_along_axis(logits, places, axis=1)
      target = jnp.where(places == targets[:, None] - first, found, 0.0)
      return None, fused.merge(sums, fused.sums_of(logits, target))

    return fused.over_rows(rows, None, (*blocks, sums))[1]

  start = jax.tree.map(
    lambda x: fused.split_rows(x, size), fused.no_sums(num_rows)
  )
  sums = fused.over_columns(num_columns, width, step, start)
  return jax.tree.map(lambda x: fused.join_rows(x, num_rows), sums)


def _d_logits(hidden, unembedding, terms, temperature, dtype):
  logits = _logits(hidden, unembedding, temperature)
  column = jax.tree.map(lambda x: x[:, None], terms)
  return fused.d_logits(logits, column).astype(dtype)


token_logprobs = fused.differentiable(passes())
