#!/usr/bin/env bash
# The card's tables on Slurm: one torchrun agent per node, all ranks on one queue; a requeued job resumes.
#
#   sbatch --nodes 2 --gpus-per-node 8 scripts/slurm_card.sh MODEL DATA_ROOT RUN [further options of evalkit run]
#
# DATA_ROOT and RUN are on file systems shared by all nodes. Activate the environment before sbatch.
#SBATCH --job-name=evalkit
#SBATCH --ntasks-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=evalkit-%j.log
set -euo pipefail
usage="usage: sbatch --nodes N --gpus-per-node G $0 MODEL DATA_ROOT RUN [options]"
model=${1:?"$usage"}
data=${2:?"$usage"}
run=${3:?"$usage"}
shift 3

nodes=${SLURM_NNODES:?"not in a Slurm job: $usage"}
ranks=${SLURM_GPUS_ON_NODE:-1}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one node must not share a port

srun --kill-on-bad-exit=0 torchrun --nnodes "$nodes" --nproc-per-node "$ranks" --max-restarts 2 \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:$port" \
    -m evalkit run --model "$model" --card internvl2 --data-root "$data" --out "$run" "$@"
evalkit table "$run"
