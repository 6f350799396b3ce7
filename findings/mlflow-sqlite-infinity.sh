#!/usr/bin/env bash
# MLflow 3.17.2, SQLite store: a loss that becomes infinite, and two values of one step.
# Guess: a metric of infinity is read back as infinity, as NaN is read back as NaN; of two values that were logged for one
#        step the later one is the latest.
# Seen:  infinity is read back as 1.7976931348623157e+308, a finite number, in the run and in its history; and of two
#        values with one step and one time the larger one is the latest, whichever came last.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'mlflow==3.17.2'
cat >"$work/see.py" <<'PY'
import logging
import math
import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
print("mlflow", mlflow.__version__)
client = mlflow.MlflowClient("sqlite:///runs.db")
run = client.create_run(client.create_experiment("seen")).info.run_id
for name, value in (("infinite", math.inf), ("negative", -math.inf), ("not_a_number", math.nan)):
    client.log_metric(run, name, value, timestamp=1, step=1)
for value in (0.5, 0.25):
    client.log_metric(run, "loss", value, timestamp=1, step=1)
latest = client.get_run(run).data.metrics
history = {name: [one.value for one in client.get_metric_history(run, name)] for name in latest}
for name in latest:
    print(f"{name:13} latest {latest[name]!r:26} history {history[name]}")
largest = 1.7976931348623157e308
assert (latest["infinite"], latest["negative"]) == (largest, -largest), "no longer as found"
assert history["infinite"] == [largest], "no longer as found"
assert math.isnan(latest["not_a_number"])
assert latest["loss"] == 0.5, "no longer as found"
PY
cd "$work"
venv/bin/python see.py
