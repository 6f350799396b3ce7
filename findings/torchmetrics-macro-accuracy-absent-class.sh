#!/usr/bin/env bash
# torchmetrics 1.9.0 and scikit-learn 1.9.1: macro accuracy where a class is predicted that no target has.
# Guess: both are the mean recall over the classes that occur among the targets.
# Seen:  torchmetrics counts a class that was only predicted as one with recall 0; scikit-learn leaves it out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torchmetrics==1.9.0' 'torch==2.9.1' 'numpy==2.3.5' 'scikit-learn==1.9.1'
cat >"$work/see.py" <<'PY'
import warnings

import torch
from sklearn.metrics import balanced_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy

warnings.simplefilter("ignore")
predicted, target = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])
ours = multiclass_accuracy(predicted, target, num_classes=4, average="macro").item()
theirs = balanced_accuracy_score(target, predicted)
print(f"predicted {predicted.tolist()}, targets {target.tolist()}: torchmetrics {ours}, scikit-learn {theirs}")
assert theirs == 0.75  # recalls 1 and 1/2
assert ours == 0.5, "no longer as found"  # recalls 1, 1/2 and 0; class 3, which is in neither, is left out
PY
cd "$work"
venv/bin/python see.py
