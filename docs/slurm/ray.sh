#!/bin/bash
# One run on all nodes of a job, which form a Ray cluster while it lasts: sbatch ray.sh FLAGS…, beside train.sh.
#SBATCH --job-name=forge-tui
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120

# Whoever reaches Ray's ports runs code as you: this job has a token of its own.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_worker_niceness=0 RAY_memory_monitor_refresh_ms=0 # forge-tui and the job's control group see to both

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

address_of() { # the first of a node's
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" hostname --all-ip-addresses | cut -d ' ' -f 1
}
start_node() { # NAME OPTIONS…
  srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --nodelist="$1" \
    ray start --block --node-name="$1" --num-cpus="$SLURM_CPUS_PER_TASK" --object-store-memory=268435456 "${@:2}" &
}

first=$(address_of "${nodes[0]}")
head=$first:$((20000 + SLURM_JOB_ID % 10000))
start_node "${nodes[0]}" --node-ip-address="$first" --head --port="${head#*:}" --include-dashboard=false
until ray status --address="$head" >/dev/null 2>&1; do
  sleep 1
done
for node in "${nodes[@]:1}"; do
  start_node "$node" --node-ip-address="$(address_of "$node")" --address="$head"
done

engine=(--engine ray --address "$head")
source "$SLURM_SUBMIT_DIR/train.sh"
