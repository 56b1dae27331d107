"""What a step's time is put down to."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from benchmarks import step_profile
from benchmarks import workload
from benchmarks.step_profile import Operation

_TEXT = """HloModule jit_step, is_scheduled=true

%fused_product (p.0: f32[8,16], p.1: f32[16,4]) -> f32[8,4] {
  %p.0 = f32[8,16]{1,0} parameter(0)
  %p.1 = f32[16,4]{1,0} parameter(1)
  ROOT %dot.1 = f32[8,4]{1,0} dot(%p.0, %p.1), lhs_contracting_dims={1}
}

%turned (p.2: f32[8,4]) -> f32[4,8] {
  %p.2 = f32[8,4]{1,0} parameter(0)
  ROOT %transpose.1 = f32[4,8]{1,0} transpose(%p.2), dimensions={1,0}
}

%added (p.3: f32[4,8]) -> f32[4,8] {
  %p.3 = f32[4,8]{1,0} parameter(0)
  ROOT %add.1 = f32[4,8]{1,0} add(%p.3, %p.3)
}

ENTRY %main (a: f32[8,16], b: f32[16,4]) -> f32[4,8] {
  %a = f32[8,16]{1,0} parameter(0)
  %b = f32[16,4]{1,0} parameter(1)
  %first = f32[8,4]{1,0} fusion(%a, %b), kind=kCustom, calls=%fused_product
  %second = f32[4,8]{1,0} fusion(%first), kind=kLoop, calls=%turned
  ROOT %third = f32[4,8]{1,0} fusion(%second), kind=kLoop, calls=%added
}
"""


def test_an_operation_is_what_it_computes():
  found = step_profile.operations(_TEXT)
  assert found["first"] == Operation(step_profile.PRODUCTS, 2.0 * 8 * 4 * 16)
  assert found["second"].kind == step_profile.MOVES
  assert found["third"].kind == step_profile.ELEMENTS


def test_a_compiled_program_is_read():
  def function(x, y):
    return jnp.sum(jnp.exp(x @ y), axis=1)

  x, y = jnp.ones((32, 64)), jnp.ones((64, 128))
  text = jax.jit(function).lower(x, y).compile().as_text()
  found = step_profile.operations(text).values()
  assert max(x.flops for x in found) == 2.0 * 32 * 64 * 128
  kinds = {x.kind for x in found}
  assert {step_profile.PRODUCTS, step_profile.SUMS} <= kinds


def test_times_are_those_of_a_step():
  traced = {"first": [3.0, 5.0], "third": [1.0, 1.0], "unknown": [9.0]}
  found = step_profile.summed(_TEXT, 4.5, traced, steps=2)
  assert found.operations[step_profile.PRODUCTS] == 1
  assert found.busy_secs[step_profile.PRODUCTS] == 4.0
  assert found.busy_secs[step_profile.ELEMENTS] == 1.0
  assert found.flops == 2.0 * 8 * 4 * 16
  shown = step_profile.table({"update": found}, flops_per_s=1024.0)
  assert "| matrix products | 1 | 4000.0 | 80% | 1000.0 |" in shown


@pytest.mark.slow
def test_a_step_is_profiled():
  size = dataclasses.replace(
    workload.SIZES["Q"], layers=1, width=8, ffn=8, prompts=2, samples=2
  )
  # Optax mixes integers and floats.
  with jax.numpy_dtype_promotion("standard"):
    found = step_profile.measure(size, steps=1)
  assert set(found) == {"sampling", "update"}
  for program in found.values():
    assert program.flops > 0 and program.busy_secs[step_profile.PRODUCTS] > 0
