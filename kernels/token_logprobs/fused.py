"""What every fused implementation shares: the mathematics and the gradient.

With z the logits over the temperature, p their softmax, H its entropy, and
upstream gradients a, b, c, d of the four statistics,

  d/d z = a (onehot - p) - b p (log p + H) + c (1 / V - p) + d p.

No implementation keeps logits for the way back: a block of them is recomputed
from the hidden states, turned into a block of d/d logits, and used at once in
the two products of the gradient. An implementation is a `Passes`: how it makes
the statistics, and how it makes one block of d/d logits.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from rlvr_jax.kernels import partition as partition_lib
from rlvr_jax.kernels import transposed_product

# exp of it is 0 in float32, and 0 times it is 0: stands in for -inf, so that a
# token of probability 0 has neither entropy nor gradient.
_LOWEST = -200.0
# Below every logit but -inf, and finite.
_FLOOR = -1e30


class TokenStatistics(NamedTuple):
  """What softmax(hidden @ unembedding / temperature) says, in nats.

  Attributes:
    logprobs: f32[N], of the targets.
    entropies: f32[N], over the full vocabulary.
    mean_logprobs: f32[N], mean over the vocabulary.
    log_normalizers: f32[N], log-sum-exp of the logits over the temperature.
  """

  logprobs: jax.Array
  entropies: jax.Array
  mean_logprobs: jax.Array
  log_normalizers: jax.Array


class Sums(NamedTuple):
  """Sums over some of the vocabulary, one entry per row.

  Attributes:
    largest: f32[N, 1], the largest z.
    exps: f32[N, 1], sum of exp(z - largest).
    weighted: f32[N, 1], sum of exp(z - largest) (z - largest).
    target: f32[N, 1], z of the target, 0 where the target is elsewhere.
  """

  largest: jax.Array
  exps: jax.Array
  weighted: jax.Array
  target: jax.Array


class RowTerms(NamedTuple):
  """What a row of d/d logits needs beside the logits, one entry per row.

  d/d logits = onehot * target + everywhere + p * (scale - slope * log p).

  Attributes:
    targets: i32[N].
    log_normalizers: f32[N].
    target: f32[N].
    everywhere: f32[N].
    scale: f32[N].
    slope: f32[N].
  """

  targets: jax.Array
  log_normalizers: jax.Array
  target: jax.Array
  everywhere: jax.Array
  scale: jax.Array
  slope: jax.Array


class Passes(NamedTuple):
  """One implementation.

  Attributes:
    statistics: (hidden, unembedding, targets, temperature) -> Sums.
    d_logits: (hidden [R, D], unembedding [D, W], RowTerms [R], temperature,
      dtype) -> dtype[R, W], where the targets count from the first column.
    block: (N, V) -> rows R and columns W of a block of d/d logits.
  """

  statistics: Callable[..., Sums]
  d_logits: Callable[..., jax.Array]
  block: Callable[[int, int], tuple[int, int]]


def common_type(left: jax.Array, right: jax.Array) -> jnp.dtype:
  """The type of both operands, or float32 where they differ."""
  same = left.dtype == right.dtype
  return left.dtype if same else jnp.dtype(jnp.float32)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
  """left @ right, summed in float32."""
  dtype = common_type(left, right)
  return jnp.dot(
    left.astype(dtype),
    right.astype(dtype),
    preferred_element_type=jnp.float32,
  )


def _transposed_product(left: jax.Array, right: jax.Array) -> jax.Array:
  """left.T @ right, summed in float32."""
  dtype = common_type(left, right)
  return transposed_product.transposed_product(
    left.astype(dtype), right.astype(dtype)
  )


def no_sums(num_rows: int) -> Sums:
  """Sums over no tokens; finite, so that no difference of them is NaN."""
  zeros = jnp.zeros((num_rows, 1), jnp.float32)
  return Sums(jnp.full_like(zeros, _FLOOR), zeros, zeros, zeros)


def sums_of(logits: jax.Array, target: jax.Array) -> Sums:
  """Sums over one block of the vocabulary.

  Args:
    logits: f32[N, W], over the temperature.
    target: f32[N, 1], the targets' entries of this block.
  """
  row = dict(axis=1, keepdims=True)
  largest = jnp.maximum(jnp.max(logits, **row), _FLOOR)
  shifted = jnp.maximum(logits - largest, _LOWEST)
  exps = jnp.exp(shifted)
  return Sums(
    largest, jnp.sum(exps, **row), jnp.sum(exps * shifted, **row), target
  )


def merge(left: Sums, right: Sums) -> Sums:
  """Sums over two disjoint parts of the vocabulary."""
  largest = jnp.maximum(left.largest, right.largest)
  exps, weighted = 0.0, 0.0
  for part in (left, right):
    moved = jnp.maximum(part.largest - largest, _LOWEST)
    shrink = jnp.exp(moved)
    exps += shrink * part.exps
    weighted += shrink * (part.weighted + moved * part.exps)
  return Sums(largest, exps, weighted, left.target + right.target)


def is_target(targets: jax.Array, num_columns: int) -> jax.Array:
  """bool[N, W] of targets i32[N, 1] that count from the first column."""
  columns = lax.broadcasted_iota(jnp.int32, (1, num_columns), 1)
  return targets == columns


def d_logits(logits: jax.Array, terms: RowTerms) -> jax.Array:
  """f32[R, W] of logits over the temperature f32[R, W] and terms [R, 1]."""
  log_probs = jnp.maximum(logits - terms.log_normalizers, _LOWEST)
  chosen = is_target(terms.targets, logits.shape[1])
  return (
    jnp.where(chosen, terms.target, 0.0)
    + terms.everywhere
    + jnp.exp(log_probs) * (terms.scale - terms.slope * log_probs)
  )


def slice_of_columns(
  most_logits: int, multiple: int, num_rows: int, num_columns: int
) -> tuple[int, int]:
  """A block of all rows and of as many columns as so many logits allow.

  Example: slice_of_columns(1000, 16, 10, 500) == (10, 96).
  """
  width = most_logits // num_rows // multiple * multiple
  return num_rows, min(num_columns, max(multiple, width))


def over_columns(num_columns: int, width: int, step: Callable, carry):
  """Folds step(carry, first, width) over slices of the columns.

  The last slice is narrower where the width does not divide the columns.
  """
  whole, rest = divmod(num_columns, width)
  if whole == 1:
    carry = step(carry, 0, width)
  elif whole:
    carry = lax.fori_loop(
      0, whole, lambda i, carry: step(carry, i * width, width), carry
    )
  return step(carry, whole * width, rest) if rest else carry


def split_rows(array: jax.Array, size: int) -> jax.Array:
  """[N, ...] -> [blocks, size, ...], zero rows appended as needed.

  A block takes every so many rows, so that each of the devices over which the
  rows are spread has its share of every block.
  """
  blocks = -(-array.shape[0] // size)
  rest = blocks * size - array.shape[0]
  if rest:
    array = jnp.pad(array, [(0, rest)] + [(0, 0)] * (array.ndim - 1))
  return array.reshape(size, blocks, *array.shape[1:]).swapaxes(0, 1)


def join_rows(array: jax.Array, num_rows: int) -> jax.Array:
  """The way back of `split_rows`."""
  return array.swapaxes(0, 1).reshape(-1, *array.shape[2:])[:num_rows]


def over_rows(step: Callable, carry, blocks):
  """lax.scan over blocks of rows; a single block makes no loop."""
  if jax.tree.leaves(blocks)[0].shape[0] > 1:
    return lax.scan(step, carry, blocks)
  carry, out = step(carry, jax.tree.map(lambda x: x[0], blocks))
  return carry, jax.tree.map(lambda x: x[None], out)


def even_rows(num_rows: int, most: int) -> int:
  """Rows per block, at most `most`, such that blocks are nearly equal."""
  blocks = -(-num_rows // most)
  return -(-num_rows // blocks)


def differentiable(
  passes: Passes, partition: partition_lib.Partition | None = None
) -> Callable[..., TokenStatistics]:
  """The statistics by an implementation, with their gradient.

  Args:
    passes: the implementation.
    partition: of rows and vocabulary over several devices, which it divides;
      each then works on its part.
  """
  sums_of_all = passes.statistics
  gradients_of_all = functools.partial(_gradients, passes)
  if partition and partition.num_parts > 1:
    sums_of_all = _partitioned_sums(sums_of_all, partition)
    gradients_of_all = _partitioned_gradients(gradients_of_all, partition)

  @jax.custom_vjp
  def statistics(hidden, unembedding, targets, temperature):
    sums = sums_of_all(hidden, unembedding, targets, temperature)
    sums = jax.tree.map(lambda x: x[:, 0], sums)
    log_sum = jnp.log(sums.exps)
    log_normalizers = sums.largest + log_sum
    # The mean over the vocabulary is a product with the mean column.
    mean_column = jnp.mean(unembedding, axis=1, dtype=jnp.float32)
    means = jnp.dot(
      hidden.astype(jnp.float32), mean_column, precision=lax.Precision.HIGHEST
    )
    return TokenStatistics(
      logprobs=sums.target - log_normalizers,
      entropies=log_sum - sums.weighted / sums.exps,
      mean_logprobs=means / temperature - log_normalizers,
      log_normalizers=log_normalizers,
    )

  def forward(hidden, unembedding, targets, temperature):
    out = statistics(hidden, unembedding, targets, temperature)
    rows = (targets, out.entropies, out.log_normalizers)
    return out, (hidden, unembedding, temperature, rows)

  def backward(saved, upstream):
    hidden, unembedding, temperature, rows = saved
    targets, entropies, log_normalizers = rows
    a, b, c, d = (x / temperature for x in upstream)
    terms = RowTerms(
      targets=targets,
      log_normalizers=log_normalizers,
      target=a,
      everywhere=c / unembedding.shape[1],
      scale=d - a - c - b * entropies,
      slope=b,
    )
    gradients = gradients_of_all(hidden, unembedding, terms, temperature)
    return *gradients, None, None

  statistics.defvjp(forward, backward)
  return statistics


def _partitioned_sums(statistics: Callable, partition) -> Callable:
  """Sums of all rows; each device has its rows and its vocabulary."""
  rows, vocab = partition.rows, partition.features

  def of_part(hidden, unembedding, targets, temperature):
    first = lax.axis_index(vocab) * unembedding.shape[1]
    sums = statistics(hidden, unembedding, targets - first, temperature)
    largest = lax.pmax(sums.largest, vocab)
    moved = jnp.maximum(sums.largest - largest, _LOWEST)
    shrink = jnp.exp(moved)
    exps = shrink * sums.exps
    weighted = shrink * (sums.weighted + moved * sums.exps)
    return Sums(largest, *lax.psum((exps, weighted, sums.target), vocab))

  return partition_lib.over_parts(
    of_part,
    partition,
    (PartitionSpec(rows), PartitionSpec(None, vocab))
    + (PartitionSpec(rows), PartitionSpec()),
    PartitionSpec(rows),
  )


def _partitioned_gradients(gradients: Callable, partition) -> Callable:
  """Gradients of all; those of a device's rows need all its vocabulary."""
  rows, vocab = partition.rows, partition.features

  def of_part(is_split, hidden, unembedding, terms, temperature):
    first = lax.axis_index(vocab) * unembedding.shape[1]
    terms = terms._replace(targets=terms.targets - first)
    added, kept = rows, None
    if is_split:
      # A block at a time: no device has the whole gradient at once.
      added, kept = partition.copies, partition.params
    d_hidden, d_unembedding = gradients(
      hidden, unembedding, terms, temperature, kept
    )
    return lax.psum(d_hidden, vocab), lax.psum(d_unembedding, added)

  def of_all(hidden, unembedding, terms, temperature):
    num_parts = partition.num_param_parts
    is_split = num_parts > 1 and unembedding.shape[0] % num_parts == 0
    width = partition.params if is_split else None
    return partition_lib.over_parts(
      functools.partial(of_part, is_split),
      partition,
      (PartitionSpec(rows), PartitionSpec(None, vocab))
      + (PartitionSpec(rows), PartitionSpec()),
      (PartitionSpec(rows), PartitionSpec(width, vocab)),
    )(hidden, unembedding, terms, temperature)

  return of_all


def _gradients(
  passes, hidden, unembedding, terms, temperature, kept: str | None = None
):
  """Gradients of hidden and unembedding, a block of d/d logits at a time.

  Along a mesh axis `kept` those of the unembedding are added up, and each
  device keeps a part of their first axis.
  """
  num_rows, num_columns = hidden.shape[0], unembedding.shape[1]
  size, width = passes.block(num_rows, num_columns)
  dtype = common_type(hidden, unembedding)
  if dtype == jnp.float16:
    dtype = jnp.float32  # float16 has no room for the small entries
  blocks = jax.tree.map(lambda x: split_rows(x, size), (hidden, terms))

  def step(carry, first, width):
    d_hidden, d_unembedding = carry
    columns = lax.dynamic_slice_in_dim(unembedding, first, width, axis=1)

    def rows(d_columns, block):
      (hidden, terms), d_hidden = block
      terms = terms._replace(targets=terms.targets - first)
      grads = passes.d_logits(hidden, columns, terms, temperature, dtype)
      return (
        d_columns + _transposed_product(hidden, grads),
        d_hidden + product(grads, columns.T),
      )

    d_columns = jnp.zeros(columns.shape, jnp.float32)
    d_columns, d_hidden = over_rows(rows, d_columns, (blocks, d_hidden))
    d_columns = d_columns.astype(unembedding.dtype)
    if kept:
      d_columns = lax.psum_scatter(d_columns, kept, tiled=True)
    d_unembedding = lax.dynamic_update_slice_in_dim(
      d_unembedding, d_columns, first, axis=1
    )
    return d_hidden, d_unembedding

  num_kept = unembedding.shape[0] // (lax.axis_size(kept) if kept else 1)
  start = (
    jnp.zeros(blocks[0].shape, jnp.float32),
    jnp.zeros((num_kept, num_columns), unembedding.dtype),
  )
  d_hidden, d_unembedding = over_columns(num_columns, width, step, start)
  return join_rows(d_hidden, num_rows).astype(hidden.dtype), d_unembedding
