"""What we write, `transformers` reads; what the programs say of it."""

import json

import numpy as np
import pytest

pytest.importorskip("transformers", reason="compares with transformers")

import torch
import transformers

from rlvr_jax import convert
from rlvr_jax import errors
from rlvr_jax.weights import certificate
from rlvr_jax.weights import files as weight_files
from rlvr_jax.weights import folders
from tests.parity import made
from tests.parity import read


@pytest.fixture(autouse=True)
def _quiet():
  transformers.logging.set_verbosity_error()
  transformers.logging.disable_progress_bar()


@pytest.fixture
def float32(monkeypatch):
  """As if --dtype=float32 --max_shard_mib=1 were given."""

  class Given:
    def __init__(self, value):
      self.value = value

  monkeypatch.setattr(convert, "_DTYPE", Given("float32"))
  monkeypatch.setattr(convert, "_MAX_SHARD_MIB", Given(1))


@pytest.mark.parametrize("family", made.SHAPES)
def test_a_round_trip_changes_no_logit(family, tmp_path, float32):
  shape = {"llama": "llama3_rope", "olmo3": "yarn_rope"}.get(family, "windows")
  theirs = made.make_model(family, shape)
  source = made.save(theirs, tmp_path / "source", max_shard_size="20KB")
  assert (source / weight_files.INDEX).exists()
  (source / "tokenizer.json").write_text("{}")
  convert.main("import", str(source), str(tmp_path / "imported"))
  convert.main("export", str(tmp_path / "imported"), str(tmp_path / "out"))
  again = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / "out", dtype=torch.float32, attn_implementation="eager"
  ).eval()
  prompts = read.left_padded([9, 4], 9)
  completions = np.random.default_rng(1).integers(3, 61, (2, 8))
  np.testing.assert_array_equal(
    certificate.torch_logits(again, prompts, completions),
    certificate.torch_logits(theirs, prompts, completions),
  )
  for name in ("tokenizer.json", "generation_config.json"):
    assert (tmp_path / "out" / name).read_bytes() == (
      source / name
    ).read_bytes()
  found = json.loads((tmp_path / "out" / convert.CERTIFICATE).read_text())
  assert found["max_abs_logit_diff"] == 0.0


def test_a_check_prints_one_line_and_passes(tmp_path, capsys):
  folder = made.save(made.make_model("qwen3", "tied"), tmp_path)
  capsys.readouterr()
  convert.main("check", str(folder))
  found = json.loads(capsys.readouterr().out)
  assert 0 < found["max_abs_logit_diff"] < found["bound"] == 2e-4
  assert found["largest_logit"] > 1


def test_a_check_fails_where_the_two_differ(tmp_path, capsys, monkeypatch):
  folder = made.save(made.make_model("qwen3", "tied"), tmp_path)
  right = folders.model_config

  def wrong(path):
    return convert.dataclasses.replace(right(path), rope_base=77.0)

  monkeypatch.setattr(folders, "model_config", wrong)
  with pytest.raises(SystemExit) as caught:
    convert.main("check", str(folder))
  assert caught.value.code == 1
  line = capsys.readouterr().out.splitlines()[-1]
  assert json.loads(line)["max_abs_logit_diff"] > 1e-2


@pytest.mark.parametrize(
  "arguments, message",
  [
    ((), "command ''"),
    (("exprot",), "did you mean 'export'"),
    (("import", "here"), "import takes SRC and DST, and 1 folders"),
    (("check", "nowhere"), "nowhere has no config.json"),
  ],
)
def test_commands_that_cannot_be_run(arguments, message):
  with pytest.raises(errors.UserError) as caught:
    convert.main(*arguments)
  assert message in str(caught.value)
