"""Bytes that operations move, of programs written by hand and compiled."""

import functools

import jax
import pytest

from benchmarks import traffic
from rlvr_jax.rollouts import sampler
from tests import testing

_PROGRAM = """
HloModule program

%update (old: f32[4,8], new: f32[4,1], at: s32[]) -> f32[4,8] {
  %old = f32[4,8]{1,0} parameter(0)
  %new = f32[4,1]{1,0} parameter(1)
  %at = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %put = f32[4,8]{1,0} dynamic-update-slice(%old, %new, %zero, %at)
}

%row (stack: f32[6,4,8], at: s32[]) -> f32[4,8] {
  %stack = f32[6,4,8]{2,1,0} parameter(0)
  %at.1 = s32[] parameter(1)
  %zero.1 = s32[] constant(0)
  %one = f32[1,4,8]{2,1,0} dynamic-slice(%stack, %at.1, %zero.1, %zero.1)
  %flat = f32[4,8]{1,0} bitcast(%one)
  ROOT %twice = f32[4,8]{1,0} add(%flat, %flat)
}

%body (carry: CARRY) -> CARRY {
  %carry = CARRY parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%carry), index=1
  %all = f32[6,4,8]{2,1,0} get-tuple-element(%carry), index=2
  %line = f32[4,1]{1,0} slice(%x), slice={[0:4], [0:1]}
  %x.1 = f32[4,8]{1,0} fusion(%x, %line, %i), kind=kLoop, calls=%update
  %near = f32[4,8]{1,0:T(8,128)S(1)} fusion(%all, %i), kind=kLoop, calls=%row
  %sum = f32[4,8]{1,0} add(%x.1, %near)
  ROOT %next = CARRY tuple(%i, %sum, %all)
}

%inside (carry.2: CARRY) -> pred[] {
  %carry.2 = CARRY parameter(0)
  ROOT %yes = pred[] constant(true)
}

%outer (carry.3: CARRY) -> CARRY {
  %carry.3 = CARRY parameter(0)
  ROOT %loop = CARRY while(%carry.3), LOOP=%body, SIX_TIMES
}

ENTRY %main (start: CARRY) -> CARRY {
  %start = CARRY parameter(0)
  ROOT %all.1 = CARRY while(%start), LOOP=%outer
}
"""
_PROGRAM = (
  _PROGRAM.replace("CARRY", "(s32[], f32[4,8]{1,0}, f32[6,4,8]{2,1,0})")
  .replace("LOOP=", "condition=%inside, body=")
  .replace("SIX_TIMES", 'backend_config={"known_trip_count":{"n":"6"}}')
)


def test_slices_and_updates_count_as_long_as_they_are():
  column, matrix, number = 4 * 4, 4 * 8 * 4, 4
  # A column out, and put in by itself; a row of the stack, left in a memory
  # that does not count; a sum with it.
  expected = 2 * column + (column + number + column) + (matrix + number)
  expected += 2 * matrix
  found = traffic.of_loops(_PROGRAM)
  assert found == {"body": expected, "outer": 6 * expected}


@pytest.mark.parametrize(
  ("scan_layers", "slots"), [(False, 0), (True, 0), (True, 8)]
)
def test_a_decoding_step_copies_no_cache(scan_layers, slots):
  shape = dict(num_layers=4, head_dim=64, scan_layers=scan_layers)
  model, params = testing.tiny_model(**shape)
  num_prompts, prompt_tokens, length = 4, 128, 256
  generate = functools.partial(
    sampler.generate,
    model,
    config=sampler.SamplerConfig(8, length, slots=slots),
    stop_ids=(testing.EOS,),
    pad_id=testing.PAD,
  )
  prompts = testing.prompt_batch(num_prompts, prompt_tokens)
  lowered = jax.jit(generate).lower(params, prompts, jax.random.key(0))
  config = model.config
  of_token = 2 * config.num_layers * config.num_kv_heads * config.head_dim * 4
  own = (slots or 8 * num_prompts) * length
  # Slots that are refilled have a copy of their prompt each.
  least = of_token * (own + (slots or num_prompts) * prompt_tokens)
  most = max(traffic.of_loops(lowered.compile().as_text()).values())
  assert least < most < 1.5 * least
