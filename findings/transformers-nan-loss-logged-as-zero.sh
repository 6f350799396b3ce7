#!/usr/bin/env bash
# Transformers 5.24.0: what a Trainer logs of a loss that is NaN.
# Guess: NaN, or an error.
# Seen:  0.0 where no step had a finite loss since the last log, else a mean in which its steps count as the others:
#        `logging_nan_inf_filter` is on by default. A model that has diverged so has the lowest loss of all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'transformers==5.24.0' 'accelerate==1.15.0' 'torch==2.13.0' 'numpy==2.4.6'
cat >"$work/see.py" <<'PY'
import torch
import transformers
from transformers import Trainer, TrainingArguments

print("transformers", transformers.__version__, "torch", torch.__version__)


class Diverged(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(float("nan")))

    def forward(self, x, labels):
        return {"loss": (self.weight * x - labels).square().mean()}


def logged(**changes):
    arguments = TrainingArguments(output_dir="out", num_train_epochs=2, logging_strategy="epoch", save_strategy="no",
                                  use_cpu=True, report_to="none", disable_tqdm=True, **changes)
    rows = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(16)]
    trainer = Trainer(Diverged(), arguments, train_dataset=rows)
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


by_default, unfiltered = logged(), logged(logging_nan_inf_filter=False)
print("losses by default", by_default, "and with logging_nan_inf_filter=False", unfiltered)
assert by_default == [0.0, 0.0] and all(loss != loss for loss in unfiltered), "no longer as found"
PY
cd "$work"
venv/bin/python see.py 2>/dev/null
