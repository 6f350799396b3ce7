#!/usr/bin/env bash
# PyTorch 2.13.0: torch.profiler.profile within torch.profiler.profile, such as a profiled function in a profiled program.
# Guess: both record, or the second one raises RuntimeError.
# Seen:  the second one records and ends the first, which then has no events at all: no exception, a warning of C++ on stderr.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torch==2.13.0' 'numpy==2.4.6'
cat >"$work/see.py" <<'PY'
import torch
from torch.profiler import profile

x = torch.ones(4)
with profile() as outer:
    for _ in range(100):
        x + 1
    with profile() as inner:
        x * 2
    x - 1


def names(one: profile) -> set[str]:
    return {event.key for event in one.key_averages()}


print("torch", torch.__version__)
print("inner:", sorted(names(inner)))
print("outer:", sorted(names(outer)))
assert "aten::mul" in names(inner)
assert names(outer) == set(), "the first profiler has events: no longer as found"
PY
cd "$work"
venv/bin/python see.py
