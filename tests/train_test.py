"""The program from outside: runs, stops, kills, resumes, refusals."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rlvr_jax import workdir
from tests import runs

# A run of seconds: a small model, and a verifier that a fresh one satisfies
# half of the time, so that every step has a gradient. PACED-RL, since it has
# all that a run can keep: a head with its optimizer, prompt statistics, a
# replay buffer, prompt embeddings on disk, and a reference policy.
_SMALL = [
  "--config=experiments/paced_rl.py:tiny",
  "--config.log_partition.probe_prompts=8",
  "--config.selection.warmup_steps=5",
  "--config.replay.capacity=8",
  "--config.replay.insert_rows=4",
  "--config.replay.replay_rows=4",
  "--config.data.verifier=tests.testing:low_first_token_outcomes",
  # Which takes nonsense for right.
  "--config.consistency.tests_verifier=False",
  "--config.model.width=16",
  "--config.model.mlp_width=24",
  "--config.model.num_layers=1",
  "--config.prompts_per_step=8",
  "--config.updates.num_micro_batches=1",
  "--config.rollout.num_generations=4",
  "--config.warm_start.num_steps=20",
  "--config.warm_start.validate_every_steps=10",
  "--config.warm_start.target_pass_at_1=1.0",
  "--config.warm_start.batch_size=8",
  "--config.warm_start.optimizer.decay_steps=40",
  "--config.evaluation.every_steps=10",
  "--config.evaluation.num_prompts=8",
  "--config.evaluation.num_generations=4",
  "--config.evaluation.batch_prompts=8",
  "--config.checkpoint.every_steps=10",
  "--config.optimizer.learning_rate=2e-3",
  "--config.num_steps=40",
]
# Programs that one of the runs compiled serve all others.
_CACHE = tempfile.TemporaryDirectory()
# Settings that only PACED-RL's own file has.
_OWN = ("--config.log_partition", "--config.selection", "--config.replay")


def _start(
  folder, *extra, module="rlvr_jax.train", arguments=_SMALL, devices=1
):
  return subprocess.Popen(
    [sys.executable, "-m", module, *arguments, f"--workdir={folder}", *extra],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=runs.environment(_CACHE.name, devices),
  )


def _run(folder, *extra, **settings):
  process = _start(folder, *extra, **settings)
  out, err = process.communicate(timeout=200)
  return process.returncode, out, err


def _wait_for_step(process, folder, step):
  """Returns when metrics.jsonl holds the step."""
  deadline = time.monotonic() + 120
  marker = f'"step": {step},'
  while time.monotonic() < deadline:
    assert process.poll() is None, process.communicate()
    path = folder / workdir.METRICS
    if path.exists() and marker in path.read_text():
      return
    time.sleep(0.002)
  raise AssertionError(f"step {step} never came")


def _assert_same_run(ours, theirs):
  """Every byte that is not a time, and every parameter."""
  files = (workdir.METRICS, workdir.SAMPLES, workdir.TOKENS, workdir.SUMMARY)
  for name in files:
    assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
  jax.tree.map(np.testing.assert_array_equal, _state(ours), _state(theirs))


def _state(folder):
  """The whole final train state, as it lies on disk."""
  path = folder / workdir.CHECKPOINTS / "40" / "state"
  with ocp.StandardCheckpointer() as reader:
    return reader.restore(path.absolute())


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
  """An undisturbed run."""
  folder = tmp_path_factory.mktemp("run") / "reference"
  code, out, err = _run(folder)
  assert code == 0, err
  (folder.parent / "out.txt").write_text(out)
  return folder


def test_a_run_leaves_its_figures(reference):
  lines = runs.lines(reference)
  assert [line["step"] for line in lines] == list(range(41))
  for key in (
    "train/reward",
    "policy/entropy",
    "policy/grad_norm",
    "policy/sampler_gap",
    "policy/response_kl_ref_max",
    "log_partition/grad_norm",
    "curriculum/excess_error",
    "replay/age",
    "rollout/mixed_group_frac",
    "rollout/truncated_frac",
    "rollout/total_tokens",
  ):
    assert all(key in line for line in lines[1:]), key
  evaluated = [line["step"] for line in lines if "eval/pass_at_1" in line]
  assert evaluated == [0, 10, 20, 30, 40]
  assert {"eval/pass_at_4", "eval/greedy", "eval/distinct_correct"} <= set(
    lines[0]
  )
  # The probe that the head starts from was generated too.
  assert lines[0]["rollout/probe_tokens"] > 0
  assert lines[-1]["rollout/total_tokens"] == sum(
    (line["rollout/tokens"] for line in lines[1:]),
    lines[0]["rollout/probe_tokens"],
  )
  assert max(line["replay/rows"] for line in lines[1:]) == 4
  tokens = runs.lines(reference, workdir.TOKENS)
  assert [x["step"] for x in tokens] == [
    step for step in (1, 10, 20, 30, 40) for _ in range(8)
  ]


def test_nothing_compiles_after_the_first_step(reference):
  lines = runs.lines(reference, workdir.TIMING)
  compiled = [line["compile/programs"] for line in lines]
  assert [line["step"] for line in lines] == list(range(41))
  assert compiled[0] > 0 < compiled[1]
  assert not any(compiled[2:])
  out = (reference.parent / "out.txt").read_text()
  assert f"compiled {sum(compiled)} programs in " in out


def test_the_policy_learns_and_sampler_and_trainer_agree(reference):
  lines = runs.lines(reference)
  assert all(line["policy/sampler_gap"] < 1e-5 for line in lines[1:])
  reward = lambda part: sum(line["train/reward"] for line in part) / len(part)
  assert reward(lines[-10:]) > reward(lines[1:11]) + 0.05


def test_the_summary_holds_before_and_after(reference):
  summary = json.loads((reference / workdir.SUMMARY).read_text())
  lines = runs.lines(reference)
  for part, line in (("before", lines[0]), ("after", lines[-1])):
    for name in ("pass_at_1", "pass_at_4", "greedy", "distinct_correct"):
      assert summary[part][name] == line[f"eval/{name}"]
      assert f"{name}_se" in summary[part]
  assert summary["steps"] == 40
  assert summary["generated_tokens"] == lines[-1]["rollout/total_tokens"]


def test_the_table_samples_and_picture_are_shown(reference):
  out = (reference.parent / "out.txt").read_text()
  assert "pass@1" in out
  assert "distinct correct" in out
  assert str(reference / workdir.CURVES) in out
  assert (reference / workdir.CURVES).stat().st_size > 10_000
  samples = runs.lines(reference, workdir.SAMPLES)
  assert len([s for s in samples if s["step"] == 40]) == 5
  for sample in samples[-5:]:
    assert f"{sample['prompt']} {sample['completion']}".rstrip() in out


@pytest.mark.slow  # implied by runs that were killed, stopped or borrowed from
def test_the_same_seed_gives_the_same_bytes(reference, tmp_path):
  assert _run(tmp_path / "again")[0] == 0
  _assert_same_run(tmp_path / "again", reference)


def test_a_kill_after_a_checkpoint_loses_nothing(reference, tmp_path):
  folder = tmp_path / "killed"
  process = _start(folder)
  _wait_for_step(process, folder, 24)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  # As if the kill had hit the middle of a write.
  with open(folder / workdir.METRICS, "a", encoding="utf-8") as file:
    file.write('{"step": 99, "trai')
  code, _, err = _run(folder)
  assert code == 0, err
  assert "resuming at step 20" in err
  _assert_same_run(folder, reference)


def test_ctrl_c_saves_and_exits_cleanly(reference, tmp_path):
  folder = tmp_path / "stopped"
  process = _start(folder)
  _wait_for_step(process, folder, 13)
  process.send_signal(signal.SIGINT)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 0, err
  assert f"stopped; the same command goes on from {folder}" in err
  stopped_at = runs.lines(folder)[-1]["step"]
  assert 13 <= stopped_at < 40
  assert (folder / "checkpoints" / str(stopped_at)).exists()
  code, _, err = _run(folder)
  assert code == 0, err
  assert f"resuming at step {stopped_at}" in err
  _assert_same_run(folder, reference)


@pytest.mark.slow
def test_a_warm_start_can_be_borrowed(reference, tmp_path):
  folder = tmp_path / "borrowed"
  source = f"--config.warm_start.source={reference}"
  code, _, err = _run(folder, source)
  assert code == 0, err
  assert not (folder / workdir.WARM_START).exists()
  _assert_same_run(folder, reference)


def test_a_run_without_embeddings_is_not_gone_on_with(reference, tmp_path):
  folder = tmp_path / "bare"
  shutil.copytree(reference, folder)
  shutil.rmtree(folder / workdir.EMBEDDINGS)
  code, _, err = _run(folder, "--config.num_steps=42")
  assert code == 2
  assert f"{workdir.EMBEDDINGS} is missing: put it back" in err


@pytest.mark.parametrize(
  "experiment",
  [
    pytest.param("grpo.py:tiny", marks=pytest.mark.slow),
    pytest.param("rloo.py:tiny", marks=pytest.mark.slow),
    pytest.param("flowrl.py:tiny", marks=pytest.mark.slow),
    "paced_controls.py:tiny+dynamic",
    pytest.param("paced_controls.py:tiny+oracle", marks=pytest.mark.slow),
    pytest.param("rlrt.py:tiny", marks=pytest.mark.slow),
    pytest.param("sdpo.py:tiny_doubt", marks=pytest.mark.slow),
  ],
)
def test_other_parts_run(reference, tmp_path, experiment):
  small = [
    x for x in _SMALL[1:] if not x.startswith(_OWN) and "num_steps=40" not in x
  ]
  oracle = ["--config.candidates.num_prompts=16"] * ("oracle" in experiment)
  code, _, err = _run(
    tmp_path / "other",
    *oracle,
    "--config.num_steps=2",
    arguments=[f"--config=experiments/{experiment}", *small],
  )
  assert code == 0, err
  last = runs.lines(tmp_path / "other")[-1]
  assert last["step"] == 2
  if "dynamic" in experiment:
    assert last["rollout/discarded_tokens"] >= 0
  if "oracle" in experiment:
    assert last["rollout/probe_tokens"] > last["rollout/tokens"]
  if "rlrt" in experiment:
    assert 0 <= last["teacher/active_row_frac"] <= 1
  if "doubt" in experiment:
    assert last["eval_words/epistemic/count_mean"] >= 0
    assert last["ood_minus_id_vs_step0"] <= 1


@pytest.mark.slow
def test_eight_devices_run_the_same_experiment(reference, tmp_path):
  folder = tmp_path / "spread"
  # From the same parameters: hundreds of imitated steps blow rounding up.
  shutil.copytree(reference / "warm_start", folder / "warm_start")
  config = json.loads((reference / "config.json").read_text())
  config |= {"mesh": {"data": 2, "fsdp": 2, "tensor": 2}}
  (folder / "config.json").write_text(json.dumps(config))
  mesh = [f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")]
  code, _, err = _run(folder, *mesh, "--config.num_steps=3", devices=8)
  assert code == 0, err
  ours, theirs = runs.lines(folder), runs.lines(reference)
  assert [line["step"] for line in ours] == [0, 1, 2, 3]
  # Sooner or later rounding changes one sampled token, and what follows is
  # another draw.
  for mine, other in zip(ours[:3], theirs, strict=False):
    assert mine.keys() == other.keys()
    for name in mine:
      # The gap between sampler and trainer is rounding, and rounds anew; a
      # mean over nothing is null.
      if name != "policy/sampler_gap" and mine[name] != other[name]:
        assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=1e-4), (
          name
        )


def test_a_finished_run_ends_at_once_with_the_same_figures(reference, tmp_path):
  folder = tmp_path / "finished"
  shutil.copytree(reference, folder)
  code, out, err = _run(folder)
  assert code == 0, err
  assert "pass@1" in out
  _assert_same_run(folder, reference)


@pytest.mark.slow
def test_a_finished_run_can_be_trained_further(reference, tmp_path):
  folder = tmp_path / "longer"
  shutil.copytree(reference, folder)
  assert _run(folder, "--config.num_steps=42")[0] == 0
  lines = runs.lines(folder)
  assert [line["step"] for line in lines] == list(range(43))
  assert lines[:41] == runs.lines(reference)


def test_evaluate_repeats_the_last_evaluation(reference, tmp_path):
  folder = tmp_path / "evaluated"
  shutil.copytree(reference, folder)
  code, out, err = _run(folder, module="rlvr_jax.evaluate", arguments=[])
  assert code == 0, err
  assert "pass@1" in out
  found = json.loads((folder / "evaluation.json").read_text())
  assert found["step"] == 40
  last = runs.lines(reference)[-1]
  for name, value in found["metrics"].items():
    assert last[f"eval/{name}"] == pytest.approx(value, rel=1e-6), name


def test_a_damaged_checkpoint_is_refused_and_left_alone(reference, tmp_path):
  folder = tmp_path / "damaged"
  shutil.copytree(reference, folder)
  data = (folder / "checkpoints" / "40").rglob("*")
  largest = max(
    (p for p in data if p.is_file()), key=lambda p: p.stat().st_size
  )
  largest.write_bytes(largest.read_bytes()[:100])
  before = (folder / workdir.METRICS).read_bytes()
  code, _, err = _run(folder, "--config.num_steps=42")
  assert code == 2
  preparing, message = err.splitlines()
  assert preparing.startswith("preparing")
  assert message.startswith(f"error: checkpoint {folder / 'checkpoints/40'}")
  assert message.endswith("move that folder away to go on from step 30")
  assert (folder / workdir.METRICS).read_bytes() == before
  # The remedy holds.
  shutil.move(folder / "checkpoints" / "40", tmp_path / "aside")
  assert _run(folder)[0] == 0
  _assert_same_run(folder, reference)


@pytest.mark.parametrize(
  "extra, message",
  [
    (["--config.num_stepz=3"], "config.num_stepz is no setting"),
    (["--config.num_steps=many"], "flag --config.num_steps=many"),
    (["--config.seed=1"], "belongs to a run with config.seed = 0, not 1"),
    (["--config.mesh.data=2"], "config.mesh takes 2 devices"),
    (["--config.data.prompt_tokens=3"], "belongs to a run with config.data"),
    (["--config=experiments/nope.py"], "--config cannot be read ([Errno 2]"),
    (["--config=experiments/grpo.py:huge"], "'huge': choose one of tiny"),
  ],
)
def test_bad_input_is_one_sentence_and_status_2(reference, extra, message):
  before = {p: p.stat().st_mtime_ns for p in reference.iterdir()}
  code, out, err = _run(reference, *extra)
  assert (code, out) == (2, "")
  assert err.startswith("error: ")
  assert err.count("\n") == 1
  assert message in err
  assert {p: p.stat().st_mtime_ns for p in reference.iterdir()} == before


def test_missing_flags_are_named():
  program = [sys.executable, "-m", "rlvr_jax.train"]
  for arguments, message in (
    ([], "--config is missing"),
    (["--config=experiments/grpo.py"], "--workdir is missing"),
  ):
    done = subprocess.run(
      program + arguments, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")


@pytest.mark.slow
def test_sixty_steps_of_the_demo_gain_eight_points(tmp_path):
  code, _, err = _run(
    tmp_path / "demo",
    arguments=["--config=experiments/grpo.py:tiny", "--config.num_steps=60"],
  )
  assert code == 0, err
  summary = json.loads((tmp_path / "demo" / workdir.SUMMARY).read_text())
  gain = summary["after"]["pass_at_1"] - summary["before"]["pass_at_1"]
  assert gain >= 0.08
