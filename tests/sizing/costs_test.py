"""Operations and transfers of a program split over devices, by its text."""

import pathlib

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import pytest

from rlvr_jax import ops
from rlvr_jax import sharding
from rlvr_jax.sizing import costs
from rlvr_jax.sizing import planning

_LAYERS, _ROWS, _WIDTH = 5, 16, 32


def _counted(tmp_path: pathlib.Path, function, *args, **shardings):
  lowered = jax.jit(function, **shardings).lower(*args)
  lowered.compile(planning.options(str(tmp_path)))
  return costs.counted(planning.split_program(list(tmp_path.glob("*.txt"))))


def _floats(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def _stack(weights, x):
  return lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0].sum()


def test_a_loop_counts_as_often_as_it_runs(tmp_path):
  weights, x = _floats(_LAYERS, _WIDTH, _WIDTH), _floats(_ROWS, _WIDTH)
  found = _counted(tmp_path, jax.grad(_stack), weights, x)
  product = 2 * _ROWS * _WIDTH * _WIDTH
  # Forward, and two products for each backward.
  assert found.flops == 3 * _LAYERS * product
  arrays = 2 * _ROWS * _WIDTH + _WIDTH * _WIDTH
  assert found.product_bytes == 3 * _LAYERS * arrays * 4
  assert found.transfer_bytes == {} and found.num_unknown == 0


@pytest.mark.parametrize("tensor", [1, 2])
def test_a_loop_that_each_device_runs_for_its_rows_counts_too(tmp_path, tensor):
  mesh = sharding.make_mesh(sharding.MeshConfig(data=2, tensor=tensor))
  partition = sharding.partition(mesh)
  layers = lambda weights, x: lax.scan(
    lambda x, w: (jnp.tanh(x @ w), None), x, weights
  )[0]
  found = _counted(
    tmp_path,
    ops.each(layers, partition, partition.rows, num_shared=1),
    _floats(_LAYERS, _WIDTH, _WIDTH),
    _floats(2 * _ROWS, _WIDTH),
    in_shardings=(sharding.replicated(mesh), sharding.row_sharding(mesh)),
  )
  assert found.flops == _LAYERS * 2 * _ROWS * _WIDTH * _WIDTH
  assert found.transfer_bytes == {} and found.num_unknown == 0


@pytest.mark.parametrize("devices", [2, 8])
def test_split_parameters_are_gathered_twice_and_their_gradients_scattered(
  tmp_path, devices
):
  mesh = sharding.make_mesh(sharding.MeshConfig(fsdp=devices))
  split = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
  rows = sharding.row_sharding(mesh)
  found = _counted(
    tmp_path,
    jax.grad(_stack),
    _floats(_LAYERS, _WIDTH, _WIDTH),
    _floats(_ROWS * devices, _WIDTH),
    in_shardings=(split, rows),
    out_shardings=split,
  )
  product = 2 * _ROWS * _WIDTH * _WIDTH
  assert found.flops == 3 * _LAYERS * product
  once = _LAYERS * _WIDTH * _WIDTH * 4 * (devices - 1) / devices
  assert found.transfer_bytes["all-gather"] == 2 * once
  # What a device does not read of a sum, it need not be sent.
  assert found.transfer_bytes["reduce-scatter"] == once
  assert ("all-gather", f"f32[{_WIDTH},{_WIDTH}]", _LAYERS) in found.transfers


def test_loops_that_may_end_early_count_at_their_longest(tmp_path):
  """One goes on where the other has ended, as the sampler's do."""

  def body(carry):
    step, x = carry
    return step + 1, x @ x

  def until(bound: int):
    return lambda carry: (carry[0] < bound) & (carry[1].sum() > 0)

  def function(x):
    carry = lax.while_loop(until(4), body, (jnp.zeros((), jnp.int32), x))
    return lax.while_loop(until(7), body, carry)

  found = _counted(tmp_path, function, _floats(8, 8))
  assert found.flops == 7 * 2 * 8**3 and found.num_unknown == 0


def test_a_loop_without_a_bound_is_told(tmp_path):
  function = lambda x: lax.while_loop(lambda x: x.sum() > 0, lambda x: x @ x, x)
  found = _counted(tmp_path, function, _floats(8, 8))
  assert found.flops == 2 * 8**3 and found.num_unknown == 1


def test_the_heavier_branch_counts(tmp_path):
  def function(flag, x):
    return lax.cond(flag, lambda x: x @ x @ x, lambda x: x @ x, x)

  flag = jax.ShapeDtypeStruct((), jnp.bool_)
  assert _counted(tmp_path, function, flag, _floats(8, 8)).flops == 4 * 8**3


_TEXT = """
HloModule one

%sum (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %add = f32[] add(%x, %y)
}

ENTRY %main (a: bf16[4,6]) -> f32[4,6] {
  %a = bf16[4,6]{1,0:T(8,128)} parameter(0)
  INSTRUCTION
  ROOT %out = f32[4,6]{1,0} convert(%t)
}
"""


@pytest.mark.parametrize(
  ("instruction", "kind", "received"),
  [
    (
      "%t = bf16[4,6]{1,0} all-reduce(%a), replica_groups={{0,1},{2,3}},"
      " to_apply=%sum",
      "all-reduce",
      2 * 48 / 2,
    ),
    (
      "%t = bf16[8,6]{1,0} all-gather(%a), replica_groups=[2,4]<=[8],"
      " dimensions={0}",
      "all-gather",
      96 * 3 / 4,
    ),
    (
      "%t = bf16[1,6]{1,0} reduce-scatter(%a),"
      " replica_groups=mesh['x'=2,'y'=4] {'y'}, to_apply=%sum",
      "reduce-scatter",
      48 * 3 / 4,
    ),
    (
      "%t = bf16[4,6]{1,0} collective-permute(%a),"
      " source_target_pairs={{0,1},{1,0}}",
      "collective-permute",
      48,
    ),
  ],
)
def test_transfers_are_among_groups(instruction, kind, received):
  found = costs.counted(_TEXT.replace("INSTRUCTION", instruction))
  assert found.transfer_bytes == {kind: received}


@pytest.mark.parametrize(
  ("config", "flops", "unknown"),
  [
    ('{"cost_estimate":{"flops":"123","bytes_accessed":"7"}}', 123, 0),
    ("{}", 0, 1),
  ],
)
def test_a_kernel_counts_as_it_says(config, flops, unknown):
  instruction = (
    '%t = f32[4,6]{1,0} custom-call(%a), custom_call_target="tpu_custom_call",'
    f" backend_config={config}"
  )
  found = costs.counted(_TEXT.replace("INSTRUCTION", instruction))
  assert (found.flops, found.num_unknown) == (flops, unknown)
