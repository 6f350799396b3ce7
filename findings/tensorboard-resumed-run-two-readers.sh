#!/usr/bin/env bash
# TensorBoard 2.21.0 with its data server 0.7.2: a run that was resumed from step 2 and wrote steps 3 to 5 again.
# Guess: what is drawn does not depend on --load_fast, which only chooses how files are read: both values of a step, or the
#        newer one.
# Seen:  --load_fast=true (the default where the data server is installed) draws the newer ones; --load_fast=false and
#        EventAccumulator draw both, as a line that goes back. They agree where the second file begins with
#        SessionLog.START, and the first one, too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'tensorboard==2.21.0' 'tensorboard-data-server==0.7.2'
cat >"$work/see.py" <<'PY'
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write(logs, marked):
    for number, steps in enumerate((range(1, 6), range(3, 8))):
        writer = EventFileWriter(logs, filename_suffix=f".{number}")
        if marked:
            start = SessionLog(status=SessionLog.START)
            writer.add_event(Event(wall_time=time.time(), step=steps[0], session_log=start))
        for step in steps:
            value = Summary.Value(tag="loss", simple_value=step + 100.0 * number)
            writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
        writer.close()
        time.sleep(1.1)  # the name of a file has its second


def served(logs, fast):
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--port", "0", "--load_fast", fast]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+:\d+/", line)))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{address}data/plugin/scalars/scalars?run=.&tag=loss") as answer:
                    found = [(step, value) for _, step, value in json.loads(answer.read())]
                if found and found[-1][0] == 7:
                    return found
            except urllib.error.HTTPError:
                pass
            time.sleep(0.2)
        raise SystemExit("the server has not read the files")
    finally:
        server.terminate()
        server.wait()


print("tensorboard", tensorboard.__version__)
seen = {}
for marked in (False, True):
    logs = f"logs-{marked}"
    write(logs, marked)
    reader = EventAccumulator(logs)
    reader.Reload()
    seen[marked] = {
        "EventAccumulator": [(one.step, one.value) for one in reader.Scalars("loss")],
        "load_fast=false": served(logs, "false"),
        "load_fast=true": served(logs, "true"),
    }
    print("with SessionLog.START:" if marked else "as a writer does by itself:")
    for name, points in seen[marked].items():
        print(f"  {name:17}", *(f"{step}:{value:g}" for step, value in points))
newer = [(1, 1.0), (2, 2.0), (3, 103.0), (4, 104.0), (5, 105.0), (6, 106.0), (7, 107.0)]
both = [(step, float(step)) for step in range(1, 6)] + newer[2:]
assert seen[False]["load_fast=true"] == newer, "no longer as found"
assert seen[False]["load_fast=false"] == seen[False]["EventAccumulator"] == both, "no longer as found"
assert all(points == newer for points in seen[True].values()), "no longer as found"
PY
cd "$work"
venv/bin/python see.py
