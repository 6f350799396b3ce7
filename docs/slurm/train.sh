#!/bin/bash
# One run as one job: sbatch train.sh FLAGS… with the flags of forge-tui. At its time limit, or when it is preempted, the
# run stops after a checkpoint, and the job is queued again and continues it.
#SBATCH --job-name=forge-tui
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120

run=$PWD/runs/job-$SLURM_JOB_ID # a job that is queued again keeps its number

if [ -e "$run/run.db" ]; then
  forge-tui resume "$run" --no-ui "${engine[@]}" & # engine: of ray.sh
else
  forge-tui --no-ui --output "$run" "${engine[@]}" "$@" &
fi
training=$!

# Slurm signals this shell only: with USR1 before the time limit, with TERM when the job is cancelled or preempted. A signal
# ends `wait`, so it waits again until the run has stopped.
again=no
trap 'again=yes; kill -USR1 "$training"' USR1
trap 'kill -USR1 "$training"' TERM
wait "$training"
status=$?
while kill -0 "$training" 2>/dev/null; do
  wait "$training"
  status=$?
done

if [ "$again" = yes ] && [ "$status" -eq 138 ]; then # 128 + USR1: stopped after a checkpoint
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
