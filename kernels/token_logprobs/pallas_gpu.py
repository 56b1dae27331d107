"""Token statistics by two Pallas kernels for NVIDIA GPUs (Triton).

One kernel sums over a share of the vocabulary, the other makes a slice of
d/d logits; both multiply a block of logits in registers, which never leaves
them. The products of the gradient with such slices are XLA's.
"""

import functools

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
import jax.numpy as jnp

from rlvr_jax.kernels.token_logprobs import fused

# Blocks of the kernels, powers of 2. # ours
_ROWS, _COLUMNS, _DEPTH = 128, 128, 32
# Programs that keep all processors of a large GPU busy. # ours
_PROGRAMS = 264
# Logits of a slice of the vocabulary on the way back. # ours
_SLICE_LOGITS = 2**25


def passes(
  *,
  rows: int = _ROWS,
  columns: int = _COLUMNS,
  depth: int = _DEPTH,
  slice_logits: int = _SLICE_LOGITS,
  interpret: bool = False,
) -> fused.Passes:
  """The implementation, with blocks of given sizes.

  Args:
    rows: of a block of logits; this and the next two are powers of 2.
    columns: of a block of logits.
    depth: of the products that are summed up, at least 16.
    slice_logits: logits that the way back holds at a time.
    interpret: runs on any backend, slowly; for tests.
  """

  def call(kernel, second, arrays, out):
    num_rows = arrays[0].shape[0]
    return pl.pallas_call(
      functools.partial(kernel, blocks=(rows, columns, depth)),
      grid=(pl.cdiv(num_rows, rows), second),
      out_shape=out,
      compiler_params=plgpu.CompilerParams(num_warps=8, num_stages=3),
      interpret=interpret,
      name=kernel.__name__.strip("_"),
    )(*arrays)

  def statistics(hidden, unembedding, targets, temperature) -> fused.Sums:
    num_rows, blocks = hidden.shape[0], pl.cdiv(unembedding.shape[1], columns)
    shares = min(blocks, pl.cdiv(_PROGRAMS, pl.cdiv(num_rows, rows)))
    column = jax.ShapeDtypeStruct((shares * num_rows,), jnp.float32)
    arrays = (hidden, unembedding, targets, _inverse(temperature, targets))
    found = call(_statistics_kernel, shares, arrays, fused.Sums(*[column] * 4))
    split = [x.reshape(shares, num_rows, 1) for x in found]
    return functools.reduce(fused.merge, map(fused.Sums, *split))

  def d_logits(hidden, unembedding, terms, temperature, dtype):
    num_columns = unembedding.shape[1]
    out = jax.ShapeDtypeStruct((hidden.shape[0], num_columns), dtype)
    scale = _inverse(temperature, terms.targets)
    arrays = (hidden, unembedding, scale, *terms)
    return call(_d_logits_kernel, pl.cdiv(num_columns, columns), arrays, out)

  block = functools.partial(fused.slice_of_columns, slice_logits, columns)
  return fused.Passes(statistics, d_logits, block)


def _inverse(temperature, targets):
  return jnp.broadcast_to(1 / temperature, targets.shape)


def _column(ref, rows):
  """[R, 1] of what is stored for each row."""
  places, exists = rows
  return plgpu.load(ref.at[places], mask=exists, other=0)[:, None]


def _places(first, size: int, limit: int):
  """Where a block lies along an axis, and which of its places exist."""
  places = first + jnp.arange(size)
  return pl.ds(first, size), places < limit


def _logits(hidden_ref, unembedding_ref, rows, columns, depth: int):
  """f32[R, W], the product of a block of rows and one of columns."""
  (row_places, row_exists), (column_places, column_exists) = rows, columns
  width = hidden_ref.shape[1]

  def add(i, total):
    places, exists = _places(i * depth, depth, width)
    hidden = plgpu.load(
      hidden_ref.at[row_places, places],
      mask=row_exists[:, None] & exists[None],
      other=0,
    )
    unembedding = plgpu.load(
      unembedding_ref.at[places, column_places],
      mask=exists[:, None] & column_exists[None],
      other=0,
    )
    return total + fused.product(hidden, unembedding)

  shape = (row_exists.shape[0], column_exists.shape[0])
  total = jnp.zeros(shape, jnp.float32)
  return lax.fori_loop(0, pl.cdiv(width, depth), add, total)


def _statistics_kernel(
  hidden_ref,  # [N, D]
  unembedding_ref,  # [D, V]
  targets_ref,  # i32[N]
  scale_ref,  # f32[N], 1 / temperature
  *sums_refs,  # f32[shares * N], the fields of Sums
  blocks,
):
  num_rows, block, depth = blocks
  (total_rows, _), num_columns = hidden_ref.shape, unembedding_ref.shape[1]
  share, shares = pl.program_id(1), pl.num_programs(1)
  first_row = pl.program_id(0) * num_rows
  rows = _places(first_row, num_rows, total_rows)
  targets, scale = _column(targets_ref, rows), _column(scale_ref, rows)

  def add(i, sums):
    first = (i * shares + share) * block
    columns = _places(first, block, num_columns)
    logits = _logits(hidden_ref, unembedding_ref, rows, columns, depth) * scale
    logits = jnp.where(columns[1][None], logits, -jnp.inf)
    chosen = fused.is_target(targets - first, block)
    target = jnp.sum(jnp.where(chosen, logits, 0.0), axis=1, keepdims=True)
    return fused.merge(sums, fused.sums_of(logits, target))

  steps = pl.cdiv(pl.cdiv(num_columns, block), shares)
  sums = lax.fori_loop(0, steps, add, fused.no_sums(num_rows))
  places = pl.ds(share * total_rows + first_row, num_rows)
  for ref, x in zip(sums_refs, sums, strict=True):
    plgpu.store(ref.at[places], x.reshape(num_rows), mask=rows[1])


def _d_logits_kernel(
  hidden_ref,  # [N, D]
  unembedding_ref,  # [D, W]
  scale_ref,  # f32[N], 1 / temperature
  *refs,  # i32[N] and f32[N], the fields of RowTerms; at last [N, W]
  blocks,
):
  *terms_refs, d_logits_ref = refs
  num_rows, block, depth = blocks
  first = pl.program_id(1) * block
  rows = _places(pl.program_id(0) * num_rows, num_rows, hidden_ref.shape[0])
  columns = _places(first, block, unembedding_ref.shape[1])
  logits = _logits(hidden_ref, unembedding_ref, rows, columns, depth)
  terms = fused.RowTerms(*[_column(ref, rows) for ref in terms_refs])
  terms = terms._replace(targets=terms.targets - first)
  d_logits = fused.d_logits(logits * _column(scale_ref, rows), terms)
  plgpu.store(
    d_logits_ref.at[rows[0], columns[0]],
    d_logits.astype(d_logits_ref.dtype),
    mask=rows[1][:, None] & columns[1][None],
  )


token_logprobs = fused.differentiable(passes())
