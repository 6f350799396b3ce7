#!/usr/bin/env bash
# PyTorch 2.9.1: what a DataLoader without shuffling draws.
# Guess: shuffle=False and num_workers=0 draw no random number.
# Seen:  each iterator draws its base seed from torch's global generator, so a validation pass between two epochs changes what training draws next.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torch==2.9.1' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import torch
from torch.utils.data import DataLoader, TensorDataset

print("torch", torch.__version__)
loader = DataLoader(TensorDataset(torch.arange(4)), batch_size=2, shuffle=False)


def next_draw(validate: bool, **options: object) -> int:
    torch.manual_seed(0)
    if validate:
        used = DataLoader(loader.dataset, batch_size=2, **options) if options else loader
        batches = [batch for (batch,) in used]
        assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3]]
    return int(torch.randint(1_000_000, ()))


alone, beside = next_draw(False), next_draw(True)
own = next_draw(True, generator=torch.Generator())
print(f"next random number: {alone} without a pass, {beside} after one, {own} after one with a generator of its own")
assert beside != alone, "the pass draws nothing: no longer as found"
assert own == alone
PY
cd "$work"
venv/bin/python see.py
