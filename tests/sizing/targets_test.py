"""Topologies by their names, without a compiler for them."""

import types

from jax.experimental import topologies
import pytest

from rlvr_jax import errors
from rlvr_jax.sizing import targets


@pytest.mark.parametrize(
  ("topology", "said", "remedy"),
  [
    ("v5e:3x5", "Unable to find libtpu.so", r"pip install .jax\[tpu\]"),
    ("v5e:3x5", "Invalid topology: v5e:3x5", "such as v5e:4x4"),
    ("h900:8", "Invalid topology: h900:8", "h100, h200 .* such as v5e:4x4"),
    ("h100:8", "topology not implemented for cuda", r"pip install .jax\[cuda"),
  ],
)
def test_a_topology_that_cannot_be_had_is_one_sentence(
  monkeypatch, topology, said, remedy
):
  def refuse(**_):
    raise RuntimeError(f"{said}\nand a traceback")

  monkeypatch.setattr(topologies, "get_topology_desc", refuse)
  with pytest.raises(errors.UserError, match=remedy) as caught:
    targets.devices_of(topology)
  assert "\n" not in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize(
  ("topology", "shape"),
  [("h100", "1x1x1"), ("a100:8", "1x1x8"), ("h200:4x8", "1x4x8")],
)
def test_gpus_are_asked_for_by_host(monkeypatch, topology, shape):
  asked = []

  def take(**kwargs):
    asked.append(kwargs)
    return types.SimpleNamespace(devices=("a device",))

  monkeypatch.setattr(topologies, "get_topology_desc", take)
  assert targets.devices_of(topology) == ["a device"]
  assert asked[0]["platform"] == "cuda" and asked[0]["topology"] == shape
  gpu = targets.GPUS[topology.partition(":")[0]]
  assert f'"{gpu.kind}"' in asked[0]["target_config"]
  assert f"core_count: {gpu.cores}\n" in asked[0]["target_config"]


def test_names_of_gpus_are_told_from_those_of_tpus():
  for name in ("h100", "a100:8", "h200:4x8"):
    assert targets.is_of_gpus(name)
  for name in ("v5e:4x4", "tpu7x:2x2x1", "h900:8", ""):
    assert not targets.is_of_gpus(name)
