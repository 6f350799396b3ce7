#!/usr/bin/env bash
# setproctitle 1.3.8 (Linux): the environment of a process as others see it.
# Guess: a process title changes ps and top, and nothing else.
# Seen:  after the first title /proc/PID/environ holds only zero bytes, so that psutil and scripts find no variable of the process; its own os.environ is whole.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'setproctitle==1.3.8' 'psutil==7.2.2'
cat >"$work/see.py" <<'PY'
import os
import sys

import psutil
import setproctitle

if sys.platform != "linux":
    sys.exit("only on Linux")
print("setproctitle", setproctitle.__version__)
process = psutil.Process()
before = len(process.environ())
setproctitle.setproctitle("worker 1")
after = len(process.environ())
with open("/proc/self/environ", "rb") as file:
    left = set(file.read())
print(f"variables seen from outside: {before} before, {after} after; os.environ has {len(os.environ)}")
assert before > 0
assert after == 0 and left == {0}, "no longer as found"
assert len(os.environ) >= before
PY
cd "$work"
venv/bin/python see.py
