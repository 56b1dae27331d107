#!/bin/bash
# One run on the GPUs of a Slurm job, one process for each GPU.
#
#   sbatch experiments/launch/slurm.sh --config=experiments/grpo.py:checkpoint \
#     --workdir=/shared/runs/grpo --config.mesh.fsdp=16
#   bash experiments/launch/slurm.sh --dry-run ...   # prints, and runs nothing
#
# Submit from the repository's folder, with the library's environment active.
# The arguments go to all processes as they are: --workdir has to lie on a file
# system that all nodes share, and data x fsdp x tensor of config.mesh has to be
# nodes x GPUs.
#
# A run longer than --time: submit the same line several times with
# `sbatch --dependency=singleton`. Each job goes on where the one before has
# stopped, and one that finds the run finished ends at once.
#
# To change: the lines below, and what your site asks for beside them, such as
# --partition and --account. Tasks and GPUs of a node have to be as many: each
# process takes the GPU of its number on the node, so that Slurm must let every
# task see all of them (no --gpus-per-task).
#SBATCH --job-name=rlvr_jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# After a lost node the job waits for new ones and starts again.
#SBATCH --requeue
# On SIGTERM all processes finish their step, save and end with status 0: leave
# them time for the longest step and a save.
#SBATCH --signal=TERM@300
set -eu

# Of a process that has lost another one.
lost=3
max_restarts=3

if [[ "${1:-}" == --dry-run ]]; then
  shift
  of() { sed -n "s/^#SBATCH --$1=//p" "$0"; }
  program="python -m rlvr_jax.train --distributed=auto"
  (($# == 0)) || program+=$(printf ' %q' "$@")
  echo "srun $program"
  for ((node = 0; node < $(of nodes); node++)); do
    for ((gpu = 0; gpu < $(of ntasks-per-node); gpu++)); do
      echo "node $node gpu $gpu: $program"
    done
  done
  exit
fi

# Since Slurm 22.05 srun no longer takes it over from the lines above.
if [[ "${SLURM_CPUS_PER_TASK:-}" ]]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

status=0
srun python -m rlvr_jax.train --distributed=auto "$@" || status=$?
# A process that was killed, say for memory it did not get, took the others with
# it. What ends otherwise would end so again.
if ((status == lost || status > 128)) &&
  ((${SLURM_RESTART_COUNT:-0} < max_restarts)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
