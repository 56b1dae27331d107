"""Two processes of one run, from outside: same figures, one end."""

import signal
import subprocess
import sys
import tempfile

import pytest

from rlvr_jax import cluster
from rlvr_jax import workdir
from tests import made_checkpoint
from tests import runs
from tests import within_processes

_SMALL = [
  "--config=experiments/grpo.py:tiny",
  "--config.data.verifier=tests.testing:low_first_token_outcomes",
  # Which takes nonsense for right.
  "--config.consistency.tests_verifier=False",
  "--config.model.width=16",
  "--config.model.mlp_width=24",
  "--config.model.num_layers=1",
  "--config.mesh.data=8",
  "--config.prompts_per_step=8",
  "--config.updates.num_micro_batches=1",
  "--config.rollout.num_generations=4",
  "--config.warm_start.num_steps=10",
  "--config.warm_start.validate_every_steps=10",
  "--config.warm_start.batch_size=8",
  "--config.evaluation.every_steps=3",
  "--config.evaluation.num_prompts=8",
  "--config.evaluation.num_generations=4",
  "--config.evaluation.batch_prompts=8",
  "--config.checkpoint.every_steps=2",
  "--config.num_steps=6",
]
_TRAIN = ["-m", "rlvr_jax.train"]
# Programs that one of the runs compiled serve all others.
_CACHE = tempfile.TemporaryDirectory()
# A process whose partner is gone has this long to notice.
_SECS_TO_END = 60
# Two cores may serve eight devices.
_SECS_TO_RUN = 500


def _start(folder, *extra, program=_TRAIN, **settings):
  """Two processes of four devices."""
  arguments = [*program, *_SMALL, f"--workdir={folder}", *extra]
  return runs.start_processes(arguments, _CACHE.name, **settings)


def _run(folder, *extra, **settings):
  return runs.ended(_start(folder, *extra, **settings), _SECS_TO_RUN)


def _alone(arguments, devices):
  """One process with all the devices; it has to succeed."""
  done = runs.run([*_TRAIN, *arguments], _CACHE.name, devices, _SECS_TO_RUN)
  assert done.returncode == 0, done.stderr


def _succeeded(done):
  assert [status for status, *_ in done] == [0, 0], done
  return done


def _assert_same_figures(ours, theirs):
  """But for rounding: sums over devices are added up in another order."""
  assert len(ours) == len(theirs)
  for mine, other in zip(ours, theirs, strict=True):
    assert mine.keys() == other.keys()
    for name in mine:
      # The gap between sampler and trainer is itself rounding; a mean over
      # nothing is null.
      if name != "policy/sampler_gap" and mine[name] != other[name]:
        assert mine[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6), (
          mine["step"],
          name,
        )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
  """An undisturbed run of two processes."""
  folder = tmp_path_factory.mktemp("run") / "reference"
  _succeeded(_run(folder))
  return folder


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(reference, tmp_path):
  folder = tmp_path / "alone"
  _alone([*_SMALL, f"--workdir={folder}"], devices=8)
  lines = runs.lines(reference)
  assert [line["step"] for line in lines] == list(range(7))
  assert all(line["policy/grad_norm"] > 0 for line in lines[1:])
  _assert_same_figures(lines, runs.lines(folder))
  _assert_same_figures(
    runs.lines(reference, workdir.WARM_START_METRICS),
    runs.lines(folder, workdir.WARM_START_METRICS),
  )
  samples = [(x / workdir.SAMPLES).read_bytes() for x in (reference, folder)]
  assert samples[0] == samples[1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_loses_nothing(
  reference, tmp_path, victim
):
  folder = tmp_path / "killed"
  processes = _start(folder)
  runs.wait_for_step(processes, folder, 3, _SECS_TO_RUN)
  processes[victim].send_signal(signal.SIGKILL)
  done = runs.ended(processes, _SECS_TO_END)
  assert done[victim][0] == -signal.SIGKILL
  status, _, err = done[1 - victim]
  assert status not in (0, cluster.STATUS_USER_ERROR)
  assert "start all of them again with the same command" in err
  (_, _, err), _ = _succeeded(_run(folder))
  assert "resuming at step 2" in err
  _assert_same_figures(runs.lines(folder), runs.lines(reference))


@pytest.mark.slow
def test_a_stop_asked_of_one_process_stops_both(reference, tmp_path):
  folder = tmp_path / "stopped"
  processes = _start(folder)
  runs.wait_for_step(processes, folder, 1, _SECS_TO_RUN)
  processes[1].send_signal(signal.SIGTERM)
  (_, _, err), (_, _, other) = _succeeded(runs.ended(processes, _SECS_TO_END))
  assert f"stopped; the same command goes on from {folder}" in err
  assert "stopping after this step" in other
  stopped_at = runs.lines(folder)[-1]["step"]
  assert 1 <= stopped_at < 6
  assert (folder / workdir.CHECKPOINTS / str(stopped_at)).exists()
  (_, _, err), _ = _succeeded(_run(folder))
  assert f"resuming at step {stopped_at}" in err
  _assert_same_figures(runs.lines(folder), runs.lines(reference))


@pytest.mark.slow
@pytest.mark.parametrize(
  "own, message",
  [
    (
      ((), ("--config.seed=1",)),
      "config.seed is 0 on process 0 and 1 on process 1: start all processes"
      " with the same flags",
    ),
    (
      (("--config.mesh.data=4",), ("--config.mesh.data=4",)),
      "config.mesh takes 4 devices (data 4 x fsdp 1 x tensor 1), but the"
      " processes of this run have 8: take all of them",
    ),
  ],
)
def test_what_does_not_fit_is_one_sentence_and_status_2(tmp_path, own, message):
  for status, out, err in _run(tmp_path / "run", own=own):
    assert status == cluster.STATUS_USER_ERROR, err
    # What carries arrays between CPUs reports its connections here.
    assert all(x.startswith("[Gloo]") for x in out.splitlines())
    errors_told = [x for x in err.splitlines() if x.startswith("error: ")]
    assert len(errors_told) == 1
    assert message in errors_told[0]
    assert "Traceback" not in err
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_mistake_of_one_process_ends_both(reference, tmp_path):
  folder = tmp_path / "failed"
  # The other's figures tell that it is in the middle of training.
  processes = _start(folder, program=within_processes.program("fail_on_one"))
  runs.wait_for_step(processes, folder, 2, _SECS_TO_RUN)
  (lost, _, other), (status, _, err) = runs.ended(processes, _SECS_TO_END)
  assert status == cluster.STATUS_USER_ERROR
  assert "error: a mistake of one process" in err
  assert lost not in (0, cluster.STATUS_USER_ERROR)
  assert "start all of them again with the same command" in other
  _succeeded(_run(folder))
  _assert_same_figures(runs.lines(folder), runs.lines(reference))


@pytest.mark.slow
def test_two_processes_judge_texts_like_one(tmp_path):
  made_checkpoint.make(tmp_path)
  arguments = lambda folder: [
    "--config=experiments/grpo.py:checkpoint",
    f"--workdir={folder}",
    f"--config.pretrained.folder={tmp_path / 'model'}",
    f"--config.data.files.train.paths=('{tmp_path / 'train.jsonl'}',)",
    f"--config.data.files.test.paths=('{tmp_path / 'test.jsonl'}',)",
    "--config.data.verifier=tests.made_checkpoint:even_length",
    "--config.consistency.tests_verifier=False",
    "--config.data.prompt_tokens=96",
    "--config.rollout.completion_tokens=12",
    "--config.mesh.data=2",
    "--config.prompts_per_step=8",
    "--config.optimizer.learning_rate=3e-3",
    "--config.num_steps=2",
    "--config.checkpoint.every_steps=1",
    "--config.evaluation.num_prompts=8",
    "--config.evaluation.num_generations=4",
    "--config.evaluation.batch_prompts=8",
    "--config.model.dtype=float32",
  ]
  _alone(arguments(tmp_path / "alone"), devices=2)
  program = [*_TRAIN, *arguments(tmp_path / "two")]
  processes = runs.start_processes(program, _CACHE.name, devices=1)
  _succeeded(runs.ended(processes, _SECS_TO_RUN))
  ours, theirs = (runs.lines(tmp_path / x) for x in ("two", "alone"))
  assert all(0 < line["train/accuracy"] < 1 for line in ours[1:])
  _assert_same_figures(ours, theirs)
  verdicts = [
    (tmp_path / x / workdir.SAMPLES).read_bytes() for x in ("two", "alone")
  ]
  assert verdicts[0] == verdicts[1]


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["data", "fsdp"])
def test_a_checkpoint_of_one_process_comes_back_on_others(tmp_path, axis):
  program = [
    *within_processes.program("save_or_restore"),
    f"--workdir={tmp_path}",
  ]
  on = lambda devices: [*program, f"--{axis}={devices}"]
  done = runs.run(on(8), _CACHE.name, 8, _SECS_TO_RUN)
  assert done.stdout == "saved from 8 device(s)\n", done.stderr
  done = runs.run(on(1), _CACHE.name, 1, _SECS_TO_RUN)
  assert done.stdout == "restored to 1 device(s)\n", done.stderr
  processes = runs.start_processes(on(4), _CACHE.name, devices=2)
  for _, out, err in _succeeded(runs.ended(processes, _SECS_TO_RUN)):
    assert out.endswith("restored to 4 device(s)\n"), err


def test_processes_agree(tmp_path):
  processes = runs.start_processes(
    [*within_processes.program("agree"), f"--workdir={tmp_path}"],
    _CACHE.name,
    devices=2,
  )
  for _, out, err in _succeeded(runs.ended(processes, _SECS_TO_RUN)):
    assert out.endswith("agreed\n"), err


@pytest.mark.slow
def test_processes_find_each_other_by_slurm(tmp_path):
  """What the environment of two tasks on one node says."""
  port = str(runs.free_port())
  processes = [
    subprocess.Popen(
      [
        sys.executable,
        *within_processes.program("agree"),
        f"--workdir={tmp_path}",
        "--distributed=auto",
      ],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env=runs.environment(_CACHE.name, devices=2)
      | {
        "JAX_COORDINATOR_PORT": port,
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": number,
        "SLURM_LOCALID": number,
      },
    )
    for number in ("0", "1")
  ]
  for _, out, err in _succeeded(runs.ended(processes, _SECS_TO_RUN)):
    assert out.endswith("agreed\n"), err
