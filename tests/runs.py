"""Programs of the library as a user starts them, and what they leave."""

from collections.abc import Sequence
from concurrent import futures
import json
import os
import socket
import subprocess
import sys
import time

from rlvr_jax import workdir

# Settings of a run whose step takes milliseconds; a fresh model satisfies the
# verifier half of the time.
QUICK = {
  "data.verifier": "tests.testing:low_first_token_outcomes",
  "data.num_train_prompts": 64,
  "model.width": 16,
  "model.mlp_width": 24,
  "model.num_layers": 1,
  "prompts_per_step": 8,
  "updates.num_micro_batches": 1,
  "rollout.num_generations": 4,
  "warm_start.num_steps": 6,
  "warm_start.target_pass_at_1": 1.0,
  "warm_start.validate_every_steps": 3,
  "warm_start.batch_size": 8,
  "evaluation.num_prompts": 12,
  "evaluation.num_generations": 3,
  "evaluation.batch_prompts": 8,
}


def environment(cache: str, devices: int = 1) -> dict[str, str]:
  """Of a program that keeps all that it compiles in `cache`."""
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    # Compiles as quick as in the rest of the suite.
    "XLA_FLAGS": "--xla_backend_optimization_level=0"
    f" --xla_force_host_platform_device_count={devices}",
    "JAX_COMPILATION_CACHE_DIR": cache,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }


def lines(folder, name=workdir.METRICS) -> list[dict]:
  """A run's figures by step, or another file of lines."""
  text = (folder / name).read_text()
  return [json.loads(line) for line in text.splitlines()]


def run(
  program: Sequence[str], cache: str, devices: int, timeout: float
) -> subprocess.CompletedProcess:
  """Runs what follows "python" to its end, as one process."""
  return subprocess.run(
    [sys.executable, *program],
    capture_output=True,
    text=True,
    timeout=timeout,
    check=False,
    env=environment(cache, devices),
  )


def free_port() -> int:
  """A port that nobody listens at."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]


def start_processes(
  program: Sequence[str],
  cache: str,
  own: Sequence[Sequence[str]] = ((), ()),
  devices: int = 4,
) -> list[subprocess.Popen]:
  """Starts the processes of one run.

  Args:
    program: what follows "python", the same for all.
    cache: see `environment`.
    own: further arguments of each process.
    devices: of each process.
  """
  address = f"127.0.0.1:{free_port()}"
  return [
    subprocess.Popen(
      [
        sys.executable,
        *program,
        f"--distributed={address}",
        f"--num_processes={len(own)}",
        f"--process_id={number}",
        *more,
      ],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env=environment(cache, devices),
    )
    for number, more in enumerate(own)
  ]


def ended(
  processes: Sequence[subprocess.Popen], timeout: float
) -> list[tuple[int, str, str]]:
  """Status, output and errors of each process; all have to end in time."""
  # All at once: a pipe that nobody reads holds its process up.
  with futures.ThreadPoolExecutor(len(processes)) as threads:
    said = [
      threads.submit(process.communicate, timeout=timeout)
      for process in processes
    ]
  try:
    return [
      (process.returncode, *words.result())
      for process, words in zip(processes, said, strict=True)
    ]
  finally:
    for process in processes:
      process.kill()


def wait_for_step(processes, folder, step, timeout):
  """Returns when metrics.jsonl holds the step; else ends the processes."""
  deadline = time.monotonic() + timeout
  marker = f'"step": {step},'
  path = folder / workdir.METRICS
  while not (path.exists() and marker in path.read_text()):
    late = time.monotonic() > deadline
    if late or any(process.poll() is not None for process in processes):
      for process in processes:
        process.kill()
      raise AssertionError(f"no step {step}: {ended(processes, timeout=60)}")
    time.sleep(0.002)
