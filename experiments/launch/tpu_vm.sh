#!/bin/bash
# One run on all hosts of a TPU VM slice, one process for each host.
#
#   experiments/launch/tpu_vm.sh NAME ZONE \
#     --config=experiments/grpo.py:checkpoint --workdir=/mnt/shared/runs/grpo \
#     --config.mesh.fsdp=16
#   experiments/launch/tpu_vm.sh --dry-run NAME ZONE ...   # runs nothing
#
# The arguments after the zone go to all processes as they are: data x fsdp x
# tensor of config.mesh has to be the slice's number of devices, and --workdir a
# folder that all hosts share, such as a mounted Filestore share or a mounted
# bucket (an address gs://... is no folder).
#
# Before: on all hosts, the repository in the same folder under the home, and
# `pip install ".[tpu,hf,math]"`, in both cases with the command below. If a
# process is lost, all end: start the same line again, and the run goes on from
# its last checkpoint. To have them save and end:
#
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all \
#     --command='pkill -TERM -f [r]lvr_jax.train'
#
# To change, or to set when starting:
#   DIRECTORY  of the repository on the hosts
#   PYTHON     that has the library, from there
set -eu

directory=${DIRECTORY:-rlvr_jax}
python=${PYTHON:-python3}

dry_run=
if [[ "${1:-}" == --dry-run ]]; then
  dry_run=yes
  shift
fi
if (($# < 2)) || [[ "$1" == -* || "$2" == -* ]]; then
  echo "usage: $0 [--dry-run] NAME ZONE --config=... --workdir=..." >&2
  exit 2
fi
name=$1 zone=$2
shift 2

# Quoted for the shell of each host; in its place, so that a signal reaches it.
program=$(printf 'cd %q && exec %q' "$directory" "$python")
program+=" -m rlvr_jax.train --distributed=auto"
(($# == 0)) || program+=$(printf ' %q' "$@")
line=(
  gcloud compute tpus tpu-vm ssh "$name" "--zone=$zone" --worker=all
  "--command=$program"
)
if [[ "$dry_run" ]]; then
  printf '%q ' "${line[@]}"
  printf '\neach host: %s\n' "$program"
  exit
fi
exec "${line[@]}"
