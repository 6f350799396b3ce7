#!/bin/bash
# One run per line of a file of flags: sbatch --array=1-3 array.sh FILE, beside train.sh.
#SBATCH --job-name=forge-tui
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120

read -r -a flags < <(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
exec bash "$SLURM_SUBMIT_DIR/train.sh" "${flags[@]}"
