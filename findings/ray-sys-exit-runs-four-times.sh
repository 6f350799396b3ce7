#!/usr/bin/env bash
# Ray 2.60.0: a task that ends itself with sys.exit(0).
# Guess: it has run once, and has ended without an error.
# Seen:  that counts as a crash of its worker: it runs four times, and `ray.get` raises WorkerCrashedError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'ray==2.60.0'
cat >"$work/see.py" <<'PY'
import sys
from pathlib import Path

import ray

runs = Path(sys.argv[1]) / "runs"
runs.touch()


@ray.remote
def task() -> None:
    with runs.open("a") as file:
        file.write("x")
    sys.exit(0)


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
try:
    ray.get(task.remote())
    raised = "nothing"
except Exception as error:
    raised = type(error).__name__
ray.shutdown()
count = len(runs.read_text())
print(f"the task has run {count} times; ray.get raises {raised}")
assert count > 1, "once: no longer as found"
PY
cd "$work"
venv/bin/python see.py "$work"
