"""On a mesh every device works on its part, and the parts make the whole."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np
import pytest

from rlvr_jax import sharding
from rlvr_jax.kernels import attention
from rlvr_jax.kernels import partition as partition_lib
from rlvr_jax.kernels import token_logprobs
from rlvr_jax.kernels.token_logprobs import chunked_xla

_SLOW_MESHES = [(1, 1, 1), (2, 1, 1), (1, 2, 2), (8, 1, 1), (1, 1, 8)]


def _on(slow_meshes):
  slow = [pytest.param(x, marks=pytest.mark.slow) for x in slow_meshes]
  return pytest.mark.parametrize("shape", [(2, 2, 2), *slow], ids=str)


_meshes = _on(_SLOW_MESHES)
# Of those, meshes that split rows.
_row_meshes = _on([x for x in _SLOW_MESHES if x[0] * x[1] > 1])


def _partition(shape) -> partition_lib.Partition:
  names = ("data", "fsdp", "tensor")
  config = sharding.MeshConfig(**dict(zip(names, shape, strict=True)))
  return sharding.partition(sharding.make_mesh(config))


def _assert_close(found, expected):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
    found,
    expected,
  )


@_meshes
def test_token_statistics_and_gradients(monkeypatch, shape):
  monkeypatch.setattr(chunked_xla, "_LIMITS", {"cpu": (4, 40)})
  rows, width, vocab = 24, 6, 32
  keys = jax.random.split(jax.random.key(0), 4)
  hidden = jax.random.normal(keys[0], (rows, width))
  unembedding = jax.random.normal(keys[1], (width, vocab))
  targets = jax.random.randint(keys[2], (rows,), 0, vocab)
  upstream = jax.random.normal(keys[3], (4, rows))

  def run(**settings):
    def statistics(hidden, unembedding):
      return token_logprobs.token_logprobs(
        hidden, unembedding, targets, temperature=0.7, **settings
      )

    def both(hidden, unembedding):
      values, pull_back = jax.vjp(statistics, hidden, unembedding)
      return values, pull_back(token_logprobs.TokenStatistics(*upstream))

    return both

  partition = _partition(shape)
  place = lambda *names: NamedSharding(partition.mesh, PartitionSpec(*names))
  # As the parameters lie: their width over fsdp.
  places = place(partition.rows), place("fsdp", partition.features)
  both = jax.jit(
    run(partition=partition), in_shardings=places, out_shardings=(None, places)
  )
  expected = jax.jit(run(implementation="reference"))(hidden, unembedding)
  _assert_close(both(hidden, unembedding), expected)
  # No device multiplies more than its part.
  parts = rows // partition.num_row_parts, vocab // partition.num_feature_parts
  text = both.lower(hidden, unembedding).compile().as_text()
  assert partition.mesh.size == 1 or f"f32[{rows},{vocab}]" not in text
  assert f"{parts[1]}]" in text
  # Nor receives a parameter's gradient whole that it keeps a part of.
  assert ("reduce-scatter" in text) == (shape[1] > 1)


@_meshes
def test_attention_and_its_gradients(shape):
  normal = lambda i, *x: jax.random.normal(jax.random.key(i), x)
  inputs = normal(0, 8, 16, 5, 4), normal(1, 8, 8, 9, 4), normal(2, 8, 8, 9, 4)
  is_real = jnp.arange(9)[None] >= jnp.arange(8)[:, None] % 4

  def run(**settings):
    def total(queries, keys, values):
      mixed = attention.causal_attention(
        queries, keys, values, is_real, window=4, **settings
      )
      return jnp.sum(jnp.sin(mixed)), mixed

    return jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)

  partition = _partition(shape)
  heads = NamedSharding(
    partition.mesh, PartitionSpec(partition.rows, partition.features)
  )
  found = jax.jit(run(partition=partition), in_shardings=(heads,) * 3)(*inputs)
  _assert_close(found, jax.jit(run())(*inputs))


@_row_meshes
def test_a_device_computes_its_own_rows_until_they_are_done(shape):
  partition = _partition(shape)
  limits = jnp.arange(16, dtype=jnp.int32) * 3
  weights = jnp.arange(8.0)

  def count(weights, limits):
    """Rounds until all rows are done; a product that the rest splits."""
    goes_on = lambda x: jnp.any(x[0] < limits)
    step = lambda x: (jnp.minimum(x[0] + 1, limits), x[1] + 1)
    _, rounds = jax.lax.while_loop(
      goes_on, step, (jnp.zeros_like(limits), jnp.zeros((), jnp.int32))
    )
    own = partition_lib.of_each(partition, partition.rows)
    product = limits[:, None].astype(jnp.float32) * weights[None]
    product = partition_lib.laid_out(product, own, feature_axis=1)
    return jnp.full(limits.shape, rounds), jnp.sum(product, axis=1)

  rounds, sums = jax.jit(
    partition_lib.each(count, partition, partition.rows, 1)
  )(weights, limits)
  # The last row of each device has most to do.
  wanted = limits.reshape(partition.num_row_parts, -1).max(axis=1)
  _assert_close(rounds.reshape(wanted.shape[0], -1)[:, 0], wanted)
  _assert_close(sums, 28.0 * limits.astype(jnp.float32))


@_row_meshes
def test_attention_of_a_devices_own_rows(shape):
  normal = lambda i, *x: jax.random.normal(jax.random.key(i), x)
  inputs = normal(0, 8, 16, 5, 4), normal(1, 8, 8, 9, 4), normal(2, 8, 8, 9, 4)
  is_real = jnp.arange(9)[None] >= jnp.arange(8)[:, None] % 4
  partition = _partition(shape)
  attend = functools.partial(
    attention.causal_attention,
    partition=partition_lib.of_each(partition, partition.rows),
  )
  found = jax.jit(partition_lib.each(attend, partition, partition.rows, 0))(
    *inputs, is_real
  )
  _assert_close(found, attention.causal_attention(*inputs, is_real))


def test_what_a_partition_does_not_divide_is_left_to_the_compiler():
  partition = _partition((2, 2, 2))
  assert partition.divides(8, 4, 2)
  assert not partition.divides(6, 4) and not partition.divides(8, 4, 3)
  hidden, unembedding = jnp.ones((6, 4)), jnp.ones((4, 10))
  found = token_logprobs.token_logprobs(
    hidden, unembedding, jnp.zeros(6, jnp.int32), partition=partition
  )
  np.testing.assert_allclose(found.logprobs, -np.log(10.0), rtol=1e-6)


def test_kernels_are_named_on_several_devices_that_divide_their_arrays(
  monkeypatch,
):
  partition = _partition((2, 2, 2))
  monkeypatch.setattr(partition_lib.Partition, "platform", "tpu")
  array = lambda rows, heads: jax.ShapeDtypeStruct(
    (rows, heads, 512, 128), jnp.bfloat16
  )
  suitable = lambda q, k: attention.suitable(q, k, partition)
  assert suitable(array(8, 4), array(8, 2)) == "splash"
  assert suitable(array(6, 4), array(6, 2)) is None
  assert suitable(array(8, 4), array(8, 1)) is None


@_meshes
@pytest.mark.parametrize("feature_axis", [-1, -2])
def test_a_gathered_parameter_is_itself_and_its_gradient_is_split(
  shape, feature_axis
):
  partition = _partition(shape)
  spec = [None, "fsdp", "fsdp"]
  spec[feature_axis] = "tensor"
  where = NamedSharding(partition.mesh, PartitionSpec(*spec))
  kernel = jax.random.normal(jax.random.key(0), (3, 16, 8))

  def loss(kernel):
    whole = partition_lib.gathered(kernel, partition, feature_axis)
    return jnp.sum(whole**3), whole

  compiled = jax.jit(
    jax.value_and_grad(loss, has_aux=True),
    in_shardings=where,
    out_shardings=((None, None), where),
  )
  (_, whole), grads = compiled(jax.device_put(kernel, where))
  _assert_close(whole, kernel)
  _assert_close(grads, 3 * kernel**2)
  has_gather = "all-gather" in compiled.lower(kernel).compile().as_text()
  assert has_gather == (shape[1] > 1)


def test_whole_parameters_are_left_alone():
  kernel = jnp.ones((4, 4))
  whole = dataclasses.replace(_partition((1, 2, 2)), params=None)
  for partition in (None, _partition((8, 1, 1)), whole):
    assert partition_lib.gathered(kernel, partition, -1) is kernel


def test_rows_lie_on_their_devices_where_they_divide():
  partition = _partition((2, 2, 2))
  lay_out = lambda x: jax.jit(
    lambda x: partition_lib.laid_out(x + 1, partition, 2)
  )(x)
  spread = lay_out(jnp.zeros((8, 3, 4)))
  assert spread.sharding.shard_shape(spread.shape) == (2, 3, 2)
  for shape in ((6, 3, 4), (8, 3, 5)):
    x = jnp.ones(shape)
    assert partition_lib.laid_out(x, partition, 2) is x
