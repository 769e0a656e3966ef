#!/usr/bin/env bash
# Train on a slurm cluster: a process a GPU, or with GPUS=0 CPU processes.
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8 or GPUS), PROCESSES (1) with GPUS=0,
#   CPUS_PER_TASK (5), SRUN_ARGS.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
partition=$1 job=$2
shift 2
gpus=${GPUS:-8}
if [ "$gpus" -gt 0 ]; then
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    tasks=(--gres=gpu:"$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node")
else
    tasks=(--ntasks="${PROCESSES:-1}")
fi
# SRUN_ARGS is split into words on purpose.
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" "${tasks[@]}" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$@" --launcher slurm
