"""The launch files start the program as it is, and nothing when dry."""

import importlib
import os
import pathlib
import shlex
import subprocess

import pytest
import yaml

from rlvr_jax import cluster

_FOLDER = pathlib.Path("experiments/launch")
_SCRIPTS = ("slurm.sh", "tpu_vm.sh")
_PROGRAM = ["-m", "rlvr_jax.train", "--distributed=auto"]
# With all that a shell would read in its own way.
_GIVEN = [
  "--config=experiments/grpo.py:checkpoint",
  "--workdir=/shared/a run's",
  "--config.data.files.train.paths=('/a b.jsonl', \"$HOME/c.jsonl\")",
]


def _run(folder, script, *arguments, status=0):
  """Runs a script; what it would start is only told, in `calls`."""
  told = folder / "calls"
  for name in ("srun", "gcloud", "scontrol"):
    program = folder / name
    program.write_text(
      f'#!/bin/bash\nprintf "%s\\0" {name} "$@" >>{told}\n'
      f"exit {status if name == 'srun' else 0}\n"
    )
    program.chmod(0o755)
  done = subprocess.run(
    ["bash", _FOLDER / script, *arguments],
    capture_output=True,
    text=True,
    check=False,
    timeout=60,
    env=os.environ
    | {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
  )
  calls = told.read_text().split("\0")[:-1] if told.exists() else []
  return done, calls


@pytest.mark.parametrize("script", _SCRIPTS)
def test_scripts_can_be_read_by_the_shell(script):
  subprocess.run(["bash", "-n", _FOLDER / script], check=True, timeout=60)


def test_slurm_dry_run_prints_each_process_and_starts_none(tmp_path):
  done, calls = _run(tmp_path, "slurm.sh", "--dry-run", *_GIVEN)
  assert (done.returncode, done.stderr, calls) == (0, "", [])
  first, *processes = done.stdout.splitlines()
  assert shlex.split(first) == ["srun", "python", *_PROGRAM, *_GIVEN]
  found = [line.split(": ", 1) for line in processes]
  assert [where for where, _ in found] == [
    f"node {node} gpu {gpu}" for node in range(2) for gpu in range(8)
  ]
  for _, command in found:
    assert shlex.split(command) == ["python", *_PROGRAM, *_GIVEN]


def test_slurm_starts_what_the_dry_run_prints(tmp_path):
  done, calls = _run(tmp_path, "slurm.sh", *_GIVEN)
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
  assert calls == ["srun", "python", *_PROGRAM, *_GIVEN]


@pytest.mark.parametrize(
  "status, again",
  [
    (cluster.STATUS_USER_ERROR, False),
    (1, False),
    (cluster.STATUS_LOST, True),
    (137, True),
  ],
)
def test_slurm_starts_again_after_a_lost_process_alone(tmp_path, status, again):
  done, calls = _run(tmp_path, "slurm.sh", *_GIVEN, status=status)
  assert done.returncode == status
  requeued = calls[len(["srun", "python", *_PROGRAM, *_GIVEN]) :]
  assert requeued == ["scontrol", "requeue", "7"] * again


def test_slurm_asks_for_a_task_of_each_gpu_and_for_a_signal():
  lines = (_FOLDER / "slurm.sh").read_text().splitlines()
  settings = [x.split(maxsplit=1)[1] for x in lines if x.startswith("#SBATCH ")]
  asked = dict(x.lstrip("-").partition("=")[::2] for x in settings)
  assert asked["ntasks-per-node"] == asked["gpus-per-node"]
  assert "requeue" in asked
  # Without "B:" it goes to the processes, and not to the script.
  assert asked["signal"].startswith("TERM@")
  # Slurm reads no further than to the first command.
  first = next(i for i, x in enumerate(lines) if x and not x.startswith("#"))
  assert not any(x.startswith("#SBATCH") for x in lines[first:])


def _assert_one_command_for_all(call):
  *gcloud, command = call
  assert gcloud == [
    *("gcloud", "compute", "tpus", "tpu-vm", "ssh", "slice-1"),
    "--zone=zone-a",
    "--worker=all",
  ]
  told = command.removeprefix("--command=")
  assert told != command
  # As the shell of a host reads it.
  cd, program = told.split(" && ", 1)
  assert shlex.split(cd) == ["cd", "rlvr_jax"]
  assert shlex.split(program) == ["exec", "python3", *_PROGRAM, *_GIVEN]
  return told


def test_tpu_dry_run_prints_the_command_of_all_hosts(tmp_path):
  done, calls = _run(
    tmp_path, "tpu_vm.sh", "--dry-run", "slice-1", "zone-a", *_GIVEN
  )
  assert (done.returncode, done.stderr, calls) == (0, "", [])
  first, second = done.stdout.splitlines()
  told = _assert_one_command_for_all(shlex.split(first))
  assert second == f"each host: {told}"


def test_tpu_starts_what_the_dry_run_prints(tmp_path):
  done, calls = _run(tmp_path, "tpu_vm.sh", "slice-1", "zone-a", *_GIVEN)
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
  _assert_one_command_for_all(calls)


@pytest.mark.parametrize("arguments", [[], ["slice-1"], ["slice-1", "--x=1"]])
def test_tpu_asks_for_name_and_zone(tmp_path, arguments):
  done, calls = _run(tmp_path, "tpu_vm.sh", *arguments)
  assert (done.returncode, calls) == (2, [])
  assert done.stderr.startswith("usage: ")


@pytest.fixture
def job_set():
  return yaml.safe_load((_FOLDER / "gke_jobset.yaml").read_text())


def test_a_job_set_is_one_pod_for_each_host_of_a_slice(job_set):
  assert job_set["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
  assert job_set["kind"] == "JobSet"
  assert job_set["spec"]["network"]["enableDNSHostnames"]
  (slices,) = job_set["spec"]["replicatedJobs"]
  # Several slices would be several networks, and the mesh knows of one.
  assert slices["replicas"] == 1
  job = slices["template"]["spec"]
  assert job["completions"] == job["parallelism"]
  assert job["completionMode"] == "Indexed"
  pod = job["template"]["spec"]
  (container,) = pod["containers"]
  wanted = container["resources"]
  chips = wanted["limits"]["google.com/tpu"]
  assert wanted["requests"]["google.com/tpu"] == chips
  selector = pod["nodeSelector"]
  assert selector["cloud.google.com/gke-tpu-accelerator"] == "tpu-v6e-slice"
  x, y = selector["cloud.google.com/gke-tpu-topology"].split("x")
  assert int(x) * int(y) == job["completions"] * chips


def test_a_job_set_restarts_all_of_its_pods_or_none(job_set):
  policy = job_set["spec"]["failurePolicy"]
  assert policy["maxRestarts"] > 0
  assert policy["rules"] == [
    {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
  ]
  job = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]
  assert job["backoffLimit"] == 0
  pod = job["template"]["spec"]
  assert pod["restartPolicy"] == "Never"
  (rule,) = job["podFailurePolicy"]["rules"]
  assert rule["action"] == "FailJob"
  assert rule["onExitCodes"] == {
    "containerName": pod["containers"][0]["name"],
    "operator": "In",
    "values": [cluster.STATUS_USER_ERROR],
  }


def test_a_job_set_runs_the_program_with_settings_that_there_are(job_set):
  job = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]
  (container,) = job["template"]["spec"]["containers"]
  python, *program = container["command"]
  assert [python, *program[:3]] == ["python", *_PROGRAM]
  given = dict(x.lstrip("-").split("=", 1) for x in program[3:])
  path, variant = given.pop("config").split(":")
  module = path.removesuffix(".py").replace("/", ".")
  config = importlib.import_module(module).get_config(variant)
  (volume,) = container["volumeMounts"]
  assert given.pop("workdir").startswith(volume["mountPath"] + "/")
  devices = 1
  for name, value in given.items():
    found = config
    for part in name.removeprefix("config.").split("."):
      found = found[part]
    if name.startswith("config.mesh."):
      devices *= int(value)
  chips = container["resources"]["limits"]["google.com/tpu"]
  assert devices == job["completions"] * chips
  claims = {x["name"] for x in job["template"]["spec"]["volumes"]}
  assert volume["name"] in claims
