#!/usr/bin/env bash
# PyTorch 2.9.1: which operations autocast to bfloat16 keeps in float32 on a CPU.
# Guess: the same as on a GPU: softmax, log_softmax, layer_norm and sum are computed in float32.
# Seen:  on a CPU they take and give bfloat16 (8 bits of mantissa); the losses, cross_entropy and mse_loss, are in float32.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torch==2.9.1' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import torch
from torch.nn import functional

print("torch", torch.__version__)
values = torch.linspace(-3, 3, 12).reshape(3, 4).bfloat16()
with torch.autocast("cpu", dtype=torch.bfloat16):
    found = {
        "softmax": torch.softmax(values, -1),
        "log_softmax": torch.log_softmax(values, -1),
        "layer_norm": functional.layer_norm(values, (4,)),
        "sum": values.sum(),
        "cross_entropy": functional.cross_entropy(values, torch.tensor([0, 1, 2])),
        "mse_loss": functional.mse_loss(values, values.float()),
    }
for name, result in found.items():
    print(f"{name:14} {result.dtype}")
low = [name for name, result in found.items() if result.dtype is torch.bfloat16]
assert low == ["softmax", "log_softmax", "layer_norm", "sum"], "no longer as found"
PY
cd "$work"
venv/bin/python see.py
