"""Token statistics by two Pallas kernels for TPUs (Mosaic).

One kernel sums over the vocabulary, the other makes a slice of d/d logits;
both multiply a block of logits in VMEM, which never leaves it. The products of
the gradient with such slices are XLA's.
"""

import functools

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from rlvr_jax.kernels.token_logprobs import fused

# Blocks of the kernels. Rows of hidden states stay in VMEM while the vocabulary
# goes by, and a weight that is read is multiplied by all of them: with fewer
# than 166 (v5p), 240 (v5e), 560 (v6e) rows a chip waits for its memory. # ours
_ROWS, _COLUMNS, _DEPTH = 1024, 512, 1024
# Of the rows that stay, fewer where the model is wide; v4 has no room for more.
_HIDDEN_BYTES = 4 * 2**20
# Above the 16 MiB that a kernel has by default, which v5p exceeds. # ours
_VMEM_BYTES = 24 * 2**20
# Logits of a slice of the vocabulary on the way back. # ours
_SLICE_LOGITS = 2**25


def suits(hidden: jax.Array, unembedding: jax.Array) -> bool:
  """Whether the kernels are worth it: whole tiles, and more than one block.

  An unembedding that is not made of whole tiles would be copied into such.
  """
  width, num_columns = unembedding.shape
  types = {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)}
  return (
    width % 128 == 0
    and num_columns % 128 == 0
    and num_columns >= _COLUMNS
    and hidden.dtype == unembedding.dtype
    and hidden.dtype in types
  )


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
    rows: of a block of logits, at most; a multiple of 16.
    columns: of a block of logits; a multiple of 128. Half as many for 32-bit
      operands.
    depth: of the products that are summed up, at most; a multiple of 128.
    slice_logits: logits that the way back holds at a time.
    interpret: runs on any backend, slowly; for tests.
  """
  call = functools.partial(
    _call, blocks=(rows, columns, depth), interpret=interpret
  )

  def statistics(hidden, unembedding, targets, temperature) -> fused.Sums:
    sums = call(
      _statistics_kernel,
      hidden,
      unembedding,
      targets,
      [jnp.broadcast_to(1 / temperature, targets.shape)],
      out=jax.ShapeDtypeStruct((hidden.shape[0], 4), jnp.float32),
    )
    return _columns_of(sums, fused.Sums)

  def d_logits(hidden, unembedding, terms, temperature, dtype):
    targets, *numbers = terms
    return call(
      _d_logits_kernel,
      hidden,
      unembedding,
      targets,
      [*numbers, jnp.broadcast_to(1 / temperature, targets.shape)],
      out=jax.ShapeDtypeStruct((len(targets), unembedding.shape[1]), dtype),
    )

  block = functools.partial(fused.slice_of_columns, slice_logits, columns)
  return fused.Passes(statistics, d_logits, block)


def _call(
  kernel, hidden, unembedding, targets, numbers, *, out, blocks, interpret
):
  """Runs a kernel over blocks (rows, columns, depth), the depth innermost.

  What the kernel reads of each row beside the operands is in two narrow
  arrays, since a column of its own takes as much VMEM as 128.
  """
  (num_rows, width), num_columns = hidden.shape, unembedding.shape[1]
  rows, columns, depth = _blocks(hidden, unembedding, *blocks)
  per_row = lambda x: pl.BlockSpec((rows, x.shape[1]), lambda i, j, k: (i, 0))
  tile = pl.BlockSpec((rows, columns), lambda i, j, k: (i, j))
  targets, numbers = targets[:, None], jnp.stack(numbers, axis=1)
  return pl.pallas_call(
    functools.partial(kernel, num_columns=num_columns),
    grid=(
      pl.cdiv(num_rows, rows),
      pl.cdiv(num_columns, columns),
      width // depth,
    ),
    in_specs=[
      # Once for all columns: a second buffer would save next to nothing.
      pl.BlockSpec(
        (rows, width), lambda i, j, k: (i, 0), pipeline_mode=pl.Buffered(1)
      ),
      pl.BlockSpec((depth, columns), lambda i, j, k: (k, j)),
      per_row(targets),
      per_row(numbers),
    ],
    out_specs=tile if kernel is _d_logits_kernel else per_row(out),
    out_shape=out,
    scratch_shapes=[pltpu.VMEM((rows, columns), jnp.float32)],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=("parallel", "arbitrary", "arbitrary"),
      vmem_limit_bytes=_VMEM_BYTES,
    ),
    interpret=interpret,
    name=kernel.__name__.strip("_"),
  )(hidden, unembedding, targets, numbers)


def _blocks(hidden, unembedding, rows, columns, depth) -> tuple[int, int, int]:
  """The blocks for these operands, at most of the sizes given.

  Each is whole tiles, or the whole of an array that is smaller; the depth
  divides the width.
  """
  (num_rows, width), num_columns = hidden.shape, unembedding.shape[1]
  fit = _HIDDEN_BYTES // (width * hidden.dtype.itemsize) // 128 * 128
  rows = fused.even_rows(num_rows, min(rows, max(128, fit)))
  if max(hidden.dtype.itemsize, unembedding.dtype.itemsize) > 2:
    columns = max(128, columns // 2)
  divisors = (x for x in range(128, depth + 1, 128) if not width % x)
  return (
    min(num_rows, -(-rows // 16) * 16),
    min(num_columns, columns),
    max(divisors, default=width),
  )


def _columns_of(numbers, record):
  """The columns [R, 1] of f32[R, K], as fields of a record."""
  return record(*[numbers[:, i : i + 1] for i in range(len(record._fields))])


def _multiply(hidden_ref, unembedding_ref, total_ref):
  """Adds the product of one block to the total."""
  step, depth = pl.program_id(2), unembedding_ref.shape[0]
  if depth == hidden_ref.shape[1]:
    hidden = hidden_ref[...]
  else:
    first = pl.multiple_of(step * depth, 128)
    hidden = hidden_ref[:, pl.ds(first, depth)]

  @pl.when(step == 0)
  def _():
    total_ref[...] = jnp.zeros_like(total_ref)

  total_ref[...] += fused.product(hidden, unembedding_ref[...])


def _statistics_kernel(
  hidden_ref,  # [R, D]
  unembedding_ref,  # [K, W]
  targets_ref,  # i32[R, 1]
  numbers_ref,  # f32[R, 1], 1 / temperature
  sums_ref,  # f32[R, 4], the fields of Sums, kept while the columns go by
  total_ref,  # f32[R, W]
  *,
  num_columns,
):
  _multiply(hidden_ref, unembedding_ref, total_ref)
  num_rows, block = total_ref.shape
  first, step = pl.program_id(1) * block, pl.program_id(2)
  last = pl.num_programs(2) - 1

  def write(sums):
    for i, x in enumerate(sums):
      sums_ref[:, i : i + 1] = x

  @pl.when((first == 0) & (step == 0))
  def _():
    write(fused.no_sums(num_rows))

  @pl.when(step == last)
  def _():
    logits = total_ref[...] * numbers_ref[...]
    if num_columns % block:
      places = lax.broadcasted_iota(jnp.int32, logits.shape, 1)
      logits = jnp.where(places < num_columns - first, logits, -jnp.inf)
    chosen = fused.is_target(targets_ref[...] - first, block)
    target = jnp.sum(jnp.where(chosen, logits, 0.0), axis=1, keepdims=True)
    before = _columns_of(sums_ref, fused.Sums)
    write(fused.merge(before, fused.sums_of(logits, target)))


def _d_logits_kernel(
  hidden_ref,  # [R, D]
  unembedding_ref,  # [K, W]
  targets_ref,  # i32[R, 1]
  numbers_ref,  # f32[R, 6], RowTerms but the targets, 1 / temperature
  d_logits_ref,  # [R, W]
  total_ref,  # f32[R, W]
  *,
  num_columns,
):
  del num_columns  # what lies beyond them is not written
  _multiply(hidden_ref, unembedding_ref, total_ref)
  first, step = pl.program_id(1) * total_ref.shape[1], pl.program_id(2)
  last = pl.num_programs(2) - 1

  @pl.when(step == last)
  def _():
    *numbers, scale = [numbers_ref[:, i : i + 1] for i in range(6)]
    terms = fused.RowTerms(targets_ref[...] - first, *numbers)
    d_logits = fused.d_logits(total_ref[...] * scale, terms)
    d_logits_ref[...] = d_logits.astype(d_logits_ref.dtype)


token_logprobs = fused.differentiable(passes())
