"""rlvr_jax: GRPO steps of a whole run, by the host's loop or in the lab.

The workload's model and lengths on countdown problems, padded to the workload's
prompts: shapes, and so the work, are those of the other sides. The host's loop
is that of `train` without record and checkpoints: it chooses, samples, judges
and updates, and fetches the metrics of each step.
"""

import dataclasses
import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp

from benchmarks import measurement
from benchmarks import workload
from benchmarks.sides import jax_device
from benchmarks.sides import matmul_peak
from benchmarks.sides import ours
from benchmarks.sides import side
from rlvr_jax import experiment as experiment_lib
from rlvr_jax import gather
from rlvr_jax import launch
from rlvr_jax import programs as programs_lib
from rlvr_jax import record
from rlvr_jax import sharding
from rlvr_jax.data import tasks
from rlvr_jax.laboratory import columns as columns_lib
from rlvr_jax.laboratory import lockstep

HOST, LAB = "host", "lab"
# Programs that the lab's steps are run in; the first compiles.
_CHUNKS = 4


def experiment(size: workload.Size, seed: int) -> experiment_lib.Experiment:
  """The workload's experiment with prompts as long as the other sides'."""
  found = ours.experiment(size)
  data = dataclasses.replace(found.run.data, prompt_tokens=size.prompt_tokens)
  return found._replace(
    run=dataclasses.replace(found.run, data=data, seed=seed)
  )


def host_steps(
  found: experiment_lib.Experiment,
  task: tasks.Task,
  steps: int,
  clock: side.Clock,
) -> list[float]:
  """Rewards of the steps of one run."""
  run = found.run
  programs = programs_lib.make_programs(
    found, task, sharding.make_mesh(run.mesh)
  )
  state, rewards = programs.train.fresh(), []
  prompts = programs.task.train.prompts
  for _ in range(steps):
    with clock.span("step"):
      own = record.Clock()
      state, rollouts, replayed, sampled = gather.gather(
        run, programs, state, prompts
      )
      metrics = own.wait("rollout_secs", sampled)
      state, updated = programs.train_step(state, rollouts, replayed)
      metrics |= own.wait("update_secs", updated)
    rewards.append(metrics["train/reward"])
  return rewards


def lab_steps(
  runs: list[experiment_lib.Experiment],
  task: tasks.Task,
  layout: columns_lib.Layout,
  steps: int,
  clock: side.Clock,
) -> list[float]:
  """Mean rewards of the steps of all runs; a step's time is that of one."""
  lock = lockstep.make_lockstep(columns_lib.columns(runs), task, layout)
  params = lock.fresh(None, None).params
  state, _ = lock.begin(params, task.train.prompts)
  rewards = []
  chunk = max(steps // _CHUNKS, 1)
  for _ in range(_CHUNKS):
    with clock.span("chunk"):
      state, metrics = lockstep.trained(lock, state, chunk)
    clock.add("step", clock.secs["chunk"][-1] / (chunk * len(runs)))
    rewards += metrics["train/reward"].mean(axis=1).tolist()
  return rewards


def main():
  """Times steps and reports."""
  flags = side.parser(__doc__)
  flags.add_argument("--kind", choices=(HOST, LAB), default=LAB)
  flags.add_argument("--seeds", type=int, default=8, help="runs of the lab")
  flags.add_argument("--over", choices=columns_lib.OVER, default="map")
  flags.add_argument("--devices", type=int, default=os.cpu_count() or 1)
  args = flags.parse_args()
  if args.kind == LAB:
    launch.simulate_devices(args.devices)
  jax.config.update("jax_enable_compilation_cache", False)
  size, clock = side.size_of(args), side.Clock()
  runs = [experiment(size, seed) for seed in range(args.seeds)]
  with tempfile.TemporaryDirectory() as folder:
    run = runs[0].run
    task = tasks.load_task(
      run.data, run.rollout.completion_tokens, pathlib.Path(folder)
    )
    task = task._replace(train=jax.tree.map(jnp.asarray, task.train))
    if args.kind == HOST:
      rewards = host_steps(runs[0], task, args.steps, clock)
    else:
      layout = columns_lib.Layout(args.over, args.devices)
      rewards = lab_steps(runs, task, layout, args.steps, clock)
  report = side.report(
    args,
    size,
    clock,
    name=args.kind,
    dtype="float32",
    parameters=size.parameters,
    packages=measurement.PACKAGES,
    checks={"reward": rewards, "seeds": args.seeds},
    **jax_device.told(jax.local_devices()[0]),
  )
  if args.kind == HOST:
    # The lab's devices have one core each.
    report["matmul_flops_per_s"] = matmul_peak.measure(size, "float32")
  side.write(args, report)


if __name__ == "__main__":
  main()
