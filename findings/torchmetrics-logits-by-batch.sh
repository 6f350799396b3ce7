#!/usr/bin/env bash
# torchmetrics 1.9.0: binary_accuracy of outputs before the sigmoid.
# Guess: they are taken as logits throughout, or as probabilities throughout.
# Seen:  each batch is taken as logits only if one of its values lies outside 0 and 1: the same sample counts as right in one batch and as wrong in another.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torchmetrics==1.9.0' 'torch==2.9.1' 'numpy==2.3.5'
cat >"$work/see.py" <<'PY'
import torch
import torchmetrics
from torchmetrics.classification import BinaryAccuracy

print("torchmetrics", torchmetrics.__version__)
logits, target = torch.tensor([0.2, 0.3, 0.4, -1.0]), torch.tensor([1, 1, 1, 0])


def accuracy(batch: int) -> float:
    """Over all samples, in batches of so many."""
    metric = BinaryAccuracy()
    for outputs, targets in zip(logits.split(batch), target.split(batch), strict=True):
        metric.update(outputs, targets)
    return metric.compute().item()


found = {batch: accuracy(batch) for batch in (1, 2, 4)}
print("accuracy by batch size:", found)
assert found == {1: 0.25, 2: 0.5, 4: 1.0}, "no longer as found"
PY
cd "$work"
venv/bin/python see.py
