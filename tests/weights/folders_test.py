"""Weights in Hugging Face folders: read into shardings, written, refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlvr_jax import errors
from rlvr_jax import sharding
from rlvr_jax.models import configs
from rlvr_jax.models import huggingface
from rlvr_jax.weights import files as weight_files
from rlvr_jax.weights import folders
from tests import testing

_CONFIG = testing.tiny_config(
  vocab_size=12, tied_embeddings=True, attention_bias=True, output_bias=True
)


def _like(config, dtype=jnp.float32, **mesh):
  return folders.abstract_params(
    config, sharding.make_mesh(sharding.MeshConfig(**mesh)), dtype
  )


def _params(config):
  """Parameters that all differ, as their places make them."""
  count = iter(range(1000))
  return jax.tree.map(
    lambda x: jax.random.normal(jax.random.key(next(count)), x.shape),
    _like(config),
  )


@pytest.fixture
def folder(tmp_path):
  """A checkpoint in several files, as others write it."""
  path = tmp_path / "checkpoint"
  folders.write(
    path,
    _params(_CONFIG),
    _CONFIG,
    config_json=huggingface.config_json(_CONFIG),
    dtype="float32",
    max_shard_bytes=4000,
  )
  return path


def _assert_equal(ours, theirs):
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_what_is_written_is_read_again(folder):
  assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
  assert folders.model_config(folder) == _CONFIG
  _assert_equal(folders.read(folder, _CONFIG, _like(_CONFIG)), _params(_CONFIG))


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_both_layouts_go_out_and_come_back(tmp_path, scan_layers, tied):
  config = testing.tiny_config(scan_layers=scan_layers, tied_embeddings=tied)
  folders.write(
    tmp_path / "new",
    _params(config),
    config,
    config_json=huggingface.config_json(config),
    dtype="float32",
  )
  assert (tmp_path / "new" / weight_files.SINGLE).exists()
  _assert_equal(
    folders.read(tmp_path / "new", config, _like(config)), _params(config)
  )


def test_bfloat16_is_rounded_once(tmp_path):
  config = testing.tiny_config()
  folders.write(
    tmp_path / "new",
    _params(config),
    config,
    config_json=huggingface.config_json(config),
  )
  rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), _params(config))
  _assert_equal(
    folders.read(tmp_path / "new", config, _like(config, jnp.bfloat16)), rounded
  )


@pytest.mark.parametrize("scan_layers", [False, True])
def test_every_device_gets_its_part(folder, scan_layers):
  config = dataclasses.replace(_CONFIG, scan_layers=scan_layers)
  like = _like(config, fsdp=4, tensor=2)
  spread = folders.read(folder, config, like)
  for array, wanted in zip(
    jax.tree.leaves(spread), jax.tree.leaves(like), strict=True
  ):
    assert array.sharding == wanted.sharding
  gate = spread["layers" if scan_layers else "layers_0"]["mlp"]["gate"][
    "kernel"
  ]
  shard = gate.addressable_shards[0].data
  assert shard.size * 8 == gate.size
  whole = folders.read(folder, config, _like(config))
  _assert_equal(jax.device_get(spread), jax.device_get(whole))


def test_an_imported_folder_is_read_in_both_layouts(folder, tmp_path):
  stacked = dataclasses.replace(_CONFIG, scan_layers=True)
  params = folders.read(folder, stacked, _like(stacked))
  (folder / "tokenizer.json").write_text("{}")
  destination = tmp_path / "imported"
  folders.write_imported(destination, params, companions=folder)
  assert folders.model_config(destination) == _CONFIG
  assert (destination / "tokenizer.json").exists()
  _assert_equal(folders.read(destination, stacked, _like(stacked)), params)
  _assert_equal(
    folders.read(destination, _CONFIG, _like(_CONFIG)), _params(_CONFIG)
  )
  spread = folders.read(destination, _CONFIG, _like(_CONFIG, tensor=2))
  assert spread["layers_1"]["mlp"]["up"]["kernel"].sharding.spec[1] == "tensor"


def _refused(folder, config=_CONFIG):
  with pytest.raises(errors.UserError) as caught:
    folders.read(folder, config, _like(config))
  message = str(caught.value)
  assert "\n" not in message
  return message


def test_a_missing_file_is_named(folder):
  missing = next(folder.glob("model-00002-*"))
  missing.unlink()
  assert f"lacks {missing.name}" in _refused(folder)


def test_a_truncated_file_is_named(folder):
  broken = next(folder.glob("model-00002-*"))
  broken.write_bytes(broken.read_bytes()[:-7])
  message = _refused(folder)
  assert str(broken) in message
  assert "download it again" in message


def test_an_index_that_promises_too_much_is_named(folder):
  index = json.loads((folder / weight_files.INDEX).read_text())
  file = next(iter(index["weight_map"].values()))
  index["weight_map"]["model.layers.9.mlp.up_proj.weight"] = file
  (folder / weight_files.INDEX).write_text(json.dumps(index))
  message = _refused(folder)
  assert "lacks the tensor model.layers.9.mlp.up_proj.weight" in message


@pytest.mark.parametrize("text", ["{", "{}"])
def test_a_broken_index_is_named(folder, text):
  (folder / weight_files.INDEX).write_text(text)
  assert "holds no weight_map" in _refused(folder)


def test_an_empty_folder_is_named(tmp_path):
  assert "has neither model.safetensors nor" in _refused(tmp_path)
  with pytest.raises(errors.UserError, match="has no config.json"):
    folders.model_config(tmp_path)
  (tmp_path / folders.CONFIG).write_text("{")
  with pytest.raises(errors.UserError, match="is not JSON"):
    folders.model_config(tmp_path)


def test_a_tensor_of_another_shape_is_named(folder):
  wider = dataclasses.replace(_CONFIG, mlp_width=32)
  message = _refused(folder, wider)
  assert "model.layers.0.mlp.gate_proj.weight has shape (24, 16)" in message
  assert "means (32, 16)" in message


def test_a_tensor_too_few_is_named(folder):
  deeper = dataclasses.replace(_CONFIG, num_layers=3)
  assert "has no tensor model.layers.2." in _refused(folder, deeper)


def test_a_tensor_too_many_is_named(folder):
  bare = dataclasses.replace(_CONFIG, attention_bias=False, output_bias=False)
  message = _refused(folder, bare)
  assert "holds the tensor model.layers.0.self_attn." in message
  assert "has no place" in message


def test_the_head_of_a_tied_checkpoint_may_lie_there_too(tmp_path):
  untied = dataclasses.replace(_CONFIG, tied_embeddings=False)
  params = _params(untied)
  params["lm_head"] = params["embedding"].T
  folders.write(
    tmp_path / "twice",
    params,
    untied,
    config_json=huggingface.config_json(_CONFIG),
    dtype="float32",
  )
  found = folders.read(tmp_path / "twice", _CONFIG, _like(_CONFIG))
  np.testing.assert_array_equal(found["embedding"], params["embedding"])


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(folders.writers, "write_json", full)
  with pytest.raises(errors.UserError, match="nothing was left behind"):
    folders.write(tmp_path / "new", _params(_CONFIG), _CONFIG, config_json={})
  assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(folder):
  before = sorted(folder.iterdir())
  with pytest.raises(errors.UserError, match="exists already"):
    folders.write(folder, _params(_CONFIG), _CONFIG, config_json={})
  assert sorted(folder.iterdir()) == before


def test_abstract_parameters_are_counted_without_making_them():
  config = configs.ModelConfig(
    vocab_size=151_936,
    num_layers=36,
    width=4096,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    mlp_width=12_288,
    scan_layers=True,
  )
  assert folders.num_parameters(_like(config)) == 8_190_735_360
