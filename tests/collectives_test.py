"""Transfers are counted off HLO text, loops and branches included."""

from rlvr_jax import collectives

# Three layers, each of which gathers its parameters; four passes, whose number
# the condition tells; a loop of unknown length inside of which a row is summed;
# one of two branches; a transfer that begins and ends apart.
_HLO = """
HloModule jit_step, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%layer (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]{0}) parameter(0)
  %ag = bf16[16,4]{1,0} all-gather(%w), dimensions={0}
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %x)
}

%more (p: (s32[], f32[8])) -> pred[] {
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

%below (p: (s32[], f32[8])) -> pred[] {
  %i.1 = s32[]{:T(128)} get-tuple-element(%p), index=0
  %constant.7.clone = s32[]{:T(128)} constant(4)
  ROOT %lt.6 = pred[]{:T(512)} compare(%i.1, %constant.7.clone), direction=LT, metadata={}
}

%pass (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %aa = f32[5]{0:T(128)} all-to-all(%x), dimensions={0}
  ROOT %t.2 = (s32[], f32[8]{0}) tuple(%i, %x)
}

%token (q: f32[8]) -> f32[8] {
  ROOT %ar = f32[8]{0} all-reduce(%q), to_apply=%add
}

%left (r: f32[8]) -> f32[8] {
  ROOT %cp = f32[8]{0} collective-permute(%r), source_target_pairs={{0,1}}
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %l = (s32[], f32[8]{0}) while(%t), condition=%more, body=%layer, backend_config={"known_trip_count":{"n":"3"}}
  %b = (s32[], f32[8]{0}) while(%t), condition=%below, body=%pass, metadata={}
  %d = f32[8]{0} while(%a), condition=%more, body=%token
  %c = f32[8]{0} conditional(%i, %a, %a), branch_computations={%left, %add}
  %s = (f32[4]{0}, f32[8]{0}) all-gather-start(%a), dimensions={0}
  %e = f32[8]{0} all-gather-done(%s)
  ROOT %r = f32[2]{0} reduce-scatter(%e), to_apply=%add
}
"""  # noqa: E501


def test_each_transfer_is_counted_as_often_as_it_runs():
  found = collectives.collectives(_HLO, unknown_trips=10)
  assert found == [
    collectives.Collective("all-gather", "bf16[16,4]", 128, 3),
    collectives.Collective("all-reduce", "f32[8]", 32, 10),
    collectives.Collective("all-to-all", "f32[5]", 20, 4),
    collectives.Collective("collective-permute", "f32[8]", 32, 1),
    collectives.Collective("all-gather", "f32[8]", 32, 1),
    collectives.Collective("reduce-scatter", "f32[2]", 8, 1),
  ]
  assert collectives.bytes_by_kind(found) == {
    "all-gather": 416,
    "all-reduce": 320,
    "all-to-all": 80,
    "collective-permute": 32,
    "reduce-scatter": 8,
  }


def test_bytes_of_shapes():
  assert collectives.num_bytes("f32[]") == 4
  assert collectives.num_bytes("(bf16[2,3], pred[5])") == 17
