"""A run from a checkpoint folder and files of problems, from outside."""

import json
import subprocess
import sys
import tempfile

import pytest

from rlvr_jax import workdir
from tests import made_checkpoint
from tests import runs

_CACHE = tempfile.TemporaryDirectory()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp("checkpoint")
  made_checkpoint.make(folder)
  return folder


def _program(module, *arguments, devices=1):
  return subprocess.run(
    [sys.executable, "-m", f"rlvr_jax.{module}", *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=200,
    check=False,
    env=runs.environment(_CACHE.name, devices),
  )


def _train(root, folder, *extra, devices=1, method="grpo"):
  return _program(
    "train",
    f"--config=experiments/{method}.py:checkpoint",
    f"--workdir={folder}",
    f"--config.pretrained.folder={root / 'model'}",
    f"--config.data.files.train.paths=('{root / 'train.jsonl'}',)",
    f"--config.data.files.test.paths=('{root / 'test.jsonl'}',)",
    "--config.data.verifier=tests.made_checkpoint:even_length",
    "--config.consistency.tests_verifier=False",
    "--config.data.prompt_tokens=96",
    "--config.rollout.completion_tokens=12",
    "--config.prompts_per_step=8",
    "--config.optimizer.learning_rate=3e-3",
    "--config.num_steps=4",
    "--config.checkpoint.every_steps=2",
    "--config.evaluation.num_prompts=8",
    "--config.evaluation.num_generations=4",
    "--config.evaluation.batch_prompts=8",
    "--config.model.dtype=float32",
    *extra,
    devices=devices,
  )


@pytest.fixture(scope="module")
def reference(root):
  done = _train(root, root / "reference")
  assert done.returncode == 0, done.stderr
  return root / "reference"


def test_it_learns_from_what_the_verifier_says(reference):
  lines = runs.lines(reference)
  assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
  for line in lines[1:]:
    assert 0 < line["train/accuracy"] < 1
    assert line["policy/grad_norm"] > 0
    assert line["policy/sampler_gap"] < 1e-5
    assert line["rollout/crash_frac"] == 0
  assert "eval/pass_at_4" in lines[-1]


@pytest.mark.parametrize(
  # SDPO's teacher follows the policy, with weights of its own in the state.
  "method",
  ["grpo", pytest.param("sdpo", marks=pytest.mark.slow)],
)
def test_stopped_and_gone_on_with_it_is_the_same_run(root, reference, method):
  whole = reference
  if method != "grpo":
    whole = root / f"{method}_whole"
    done = _train(root, whole, method=method)
    assert done.returncode == 0, done.stderr
  folder = root / f"{method}_resumed"
  first = _train(root, folder, "--config.num_steps=2", method=method)
  assert first.returncode == 0, first.stderr
  done = _train(root, folder, method=method)
  assert "resuming at step 2" in done.stderr

  # The last step of the first part was evaluated, being the last.
  def trained(folder):
    return [
      {k: v for k, v in line.items() if not k.startswith("eval/")}
      for line in runs.lines(folder)
    ]

  assert trained(folder) == trained(whole)


@pytest.mark.slow
def test_rows_over_devices_are_judged_alike(root, reference):
  folder = root / "spread"
  mesh = ["--config.mesh.data=2", "--config.mesh.fsdp=2"]
  done = _train(root, folder, *mesh, "--config.num_steps=1", devices=4)
  assert done.returncode == 0, done.stderr
  ours, theirs = runs.lines(folder)[1], runs.lines(reference)[1]
  for name in ("train/accuracy", "rollout/tokens", "rollout/truncated_frac"):
    assert ours[name] == theirs[name]
  assert ours["policy/grad_norm"] == pytest.approx(
    theirs["policy/grad_norm"], rel=1e-3
  )


@pytest.mark.slow
def test_a_teacher_is_told_within_the_chat(root):
  done = _train(root, root / "taught", "--config.num_steps=1", method="rlrt")
  assert done.returncode == 0, done.stderr
  last = runs.lines(root / "taught")[-1]
  assert last["teacher/active_row_frac"] > 0
  assert last["teacher/d_hat_mean"] != 0


@pytest.mark.slow
def test_two_runs_are_compared_by_problem(root, reference):
  for folder in (reference, root / "again"):
    if not folder.exists():
      assert _train(root, folder, "--config.num_steps=1").returncode == 0
    arguments = [f"--workdir={folder}", f"--files={root / 'test.jsonl'}"]
    if folder != reference:
      arguments.append(f"--compare={reference}")
    arguments.append("--markers=sdd10")
    done = _program("evaluate", *arguments, "--num_prompts=12")
    assert done.returncode == 0, done.stderr
  assert "against the other run" in done.stdout
  assert "maj@4" in done.stdout
  assert "words of doubt per 1,000 tokens: " in done.stdout
  # Evaluated on other draws, the two are not comparable.
  done = _program("evaluate", *arguments, "--num_prompts=12", "--seed=5")
  assert done.returncode == 2
  assert "was evaluated with seed 0, and this run with 5" in done.stderr


def test_it_is_evaluated_and_exported(root, reference):
  done = _program("evaluate", f"--workdir={reference}")
  assert done.returncode == 0, done.stderr
  found = json.loads((reference / "evaluation.json").read_text())
  last = runs.lines(reference)[-1]
  assert found["metrics"]["pass_at_1"] == pytest.approx(
    last["eval/pass_at_1"], abs=1e-6
  )
  done = _program("convert", "export", reference, root / "exported")
  assert done.returncode == 0, done.stderr
  names = {path.name for path in (root / "exported").iterdir()}
  assert {"config.json", "model.safetensors", "tokenizer.json"} <= names


def test_an_answer_that_cannot_be_read_is_named_by_its_line(root, tmp_path):
  rows = (root / "train.jsonl").read_text().splitlines()
  rows[6] = json.dumps({"question": "What is nothing?", "answer": "x-unread"})
  path = tmp_path / "problems.jsonl"
  path.write_text("\n".join(rows))
  mine = f"--config.data.files.train.paths=('{path}',)"
  done = _train(root, tmp_path / "run", mine)
  # Given twice, a tuple holds both: the first file's rows are duplicates.
  assert done.returncode == 2
  last = done.stderr.splitlines()[-1]
  assert last.startswith(f"error: {path}:7 has the answer 'x-unread', which")
  assert "set config.data.unread_golds to 'mask'" in last
  assert not (tmp_path / "run" / workdir.CHECKPOINTS).exists()


@pytest.mark.parametrize(
  "extra, message",
  [
    (["--config.pretrained.folder=nowhere"], "nowhere has no config.json"),
    (["--config.data.verifier=mth"], "config.data.verifier is 'mth'"),
    (["--config.data.prompt_tokens=3"], "prompt_tokens is 3, but 40 of 40"),
    (["--config.warm_start.num_steps=9"], "have no demonstrations to imitate"),
  ],
)
def test_mistakes_are_one_sentence(root, tmp_path, extra, message):
  done = _train(root, tmp_path / "run", *extra)
  assert done.returncode == 2
  last = done.stderr.splitlines()[-1]
  assert last.startswith("error: ")
  assert message in last
