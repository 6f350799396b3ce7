#!/usr/bin/env bash
# optuna 5.0.0: GridSampler with ask and tell.
# Guess: the study takes all results of the grid; asking for more raises or repeats points.
# Seen:  telling the last result of the grid raises RuntimeError, though it is stored; asking for more gives points again, and telling those raises too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'optuna==5.0.0'
cat >"$work/see.py" <<'PY'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
print("optuna", optuna.__version__)
study = optuna.create_study(sampler=optuna.samplers.GridSampler({"width": [1, 2]}, seed=0))
told = []
for _ in range(3):
    trial = study.ask()
    trial.suggest_int("width", 1, 2)
    try:
        study.tell(trial, 1.0)
        told.append("told")
    except RuntimeError as error:
        told.append(f"RuntimeError: {error}")
print(*told, [trial.state.name for trial in study.trials], sep="\n")
assert told[0] == "told"
assert all(word.startswith("RuntimeError") for word in told[1:]), "no longer as found"
assert all(trial.state is optuna.trial.TrialState.COMPLETE for trial in study.trials)
PY
cd "$work"
venv/bin/python see.py
