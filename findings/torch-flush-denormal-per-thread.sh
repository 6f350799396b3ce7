#!/usr/bin/env bash
# PyTorch 2.9.1: torch.set_flush_denormal and threads that run already (x86-64, two threads).
# Guess: it sets the mode of the process.
# Seen:  it sets that of the calling thread; threads of the intra-operation pool that were started before keep denormal numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torch==2.9.1' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import torch

torch.set_num_threads(2)
tiny = torch.full((4_000_000,), 1e-39)  # denormal in float32


def kept() -> float:
    """The share of products that are not flushed to zero."""
    return ((tiny * 1.0).view(torch.int32) != 0).float().mean().item()


print("torch", torch.__version__)
before = kept()  # starts the pool
assert torch.set_flush_denormal(True), "this CPU has no such mode"
after = kept()
print(f"denormal products kept: {before:.0%} before, {after:.0%} after set_flush_denormal(True)")
assert before == 1.0
assert 0.0 < after < 1.0, "all threads took the mode: no longer as found"
PY
cd "$work"
venv/bin/python see.py
