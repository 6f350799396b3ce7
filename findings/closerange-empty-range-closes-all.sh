#!/usr/bin/env bash
# CPython 3.11.7 (Linux): os.closerange(low, high) with an empty range.
# Guess: the range is half open, as range() is: closerange(0, 0) closes nothing, as closerange(5, 5) does.
# Seen:  closerange(0, 0) closes every descriptor of the process, stdout and stderr with them; an empty range elsewhere closes nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
cat >"$work/see.py" <<'PY'
import os
import platform
import sys

if sys.platform != "linux":
    sys.exit("only on Linux")


def open_after(low: int, high: int) -> int:
    """How many of ten open files a child still has after `os.closerange(low, high)`; its exit status says it."""
    child = os.fork()
    if child == 0:
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        os.closerange(low, high)
        os._exit(sum(os.path.exists(f"/dev/fd/{file}") for file in files))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


print(platform.python_implementation(), platform.python_version())
found = {(low, low): open_after(low, low) for low in (0, 1, 3, 8)}
for (low, high), left in found.items():
    print(f"os.closerange({low}, {high}): {left} of 10 files are open still")
assert found == {(0, 0): 0, (1, 1): 10, (3, 3): 10, (8, 8): 10}, "no longer as found"
PY
"$work/venv/bin/python" "$work/see.py"
