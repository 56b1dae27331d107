"""Cycles that a compiler expects of layers, of a program written by hand."""

import pytest

from benchmarks import layer_cycles
from benchmarks import workload
from rlvr_jax.sizing import targets

_PROGRAM = """
HloModule program

%multiplied (x: bf16[8,8]) -> bf16[8,8] {
  %x = bf16[8,8]{1,0} parameter(0)
  ROOT %y = bf16[8,8]{1,0} convolution(%x, %x), dim_labels=bf_io->bf
}

%moved (x: bf16[8,8]) -> bf16[8,8] {
  %x.1 = bf16[8,8]{1,0} parameter(0)
  ROOT %y.1 = bf16[8,8]{1,0} copy(%x.1)
}

%there (carry: bf16[8,8]) -> bf16[8,8] {
  %carry = bf16[8,8]{1,0} parameter(0)
  %a = bf16[8,8]{1,0} fusion(%carry), kind=kOutput, calls=%multiplied, backend_config={"estimated_cycles":"700"}
  %b = bf16[8,8]{1,0} fusion(%a), kind=kLoop, calls=%moved, backend_config={"estimated_cycles":"20"}
  ROOT %c = bf16[8,8]{1,0} custom-call(%b), custom_call_target="tpu_custom_call", backend_config={"estimated_cycles":"9223372036854775807"}
}

%back (carry: bf16[8,8]) -> bf16[8,8] {
  %carry.1 = bf16[8,8]{1,0} parameter(0)
  ROOT %d = bf16[8,8]{1,0} copy(%carry.1), backend_config={"estimated_cycles":"5"}
}

%other (carry: bf16[8,8]) -> pred[] {
  %carry.2 = bf16[8,8]{1,0} parameter(0)
  ROOT %e = pred[] constant(true)
}

ENTRY %main (x: bf16[8,8]) -> bf16[8,8] {
  %x.2 = bf16[8,8]{1,0} parameter(0)
  %f = bf16[8,8]{1,0} while(%x.2), condition=%other, body=%there, metadata={op_name="jit(f)/jvp(Transformer)/while"}
  %g = bf16[8,8]{1,0} while(%f), condition=%other, body=%back, metadata={op_name="jit(f)/transpose(jvp(Transformer))/while"}
  ROOT %h = bf16[8,8]{1,0} while(%g), condition=%other, body=%there, metadata={op_name="jit(f)/while"}
}
"""  # noqa: E501


def test_products_are_told_from_the_rest():
  assert layer_cycles.of_layers(_PROGRAM) == {
    "forward": {"products": 700, "rest": 20, "operations": 2},
    "back": {"products": 0, "rest": 5, "operations": 1},
  }


@pytest.mark.slow
def test_what_lies_between_the_products_of_a_layer_is_the_smaller_part():
  pytest.importorskip("libtpu")
  device = targets.devices_of("v6e:2x2")[0]
  text = layer_cycles.compiled(workload.SIZES["L"], 16, "bfloat16", device)
  for way in layer_cycles.of_layers(text).values():
    assert way["operations"] > 10
    assert way["rest"] < way["products"]
