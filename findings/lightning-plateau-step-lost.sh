#!/usr/bin/env bash
# Lightning 2.6.6: what of a learning rate scheduler is in the checkpoint of an epoch.
# Guess: training that continues from the checkpoint of an epoch has the learning rates of training that was not interrupted.
# Seen:  with ReduceLROnPlateau it lacks the step of that epoch: Lightning takes it after the last hook of the epoch, where
#        checkpoints are saved, and not when it continues. StepLR is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'lightning==2.6.6' 'torch==2.13.0' 'numpy==2.4.6'
cat >"$work/see.py" <<'PY'
import logging
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
print("lightning", pl.__version__, "torch", torch.__version__)
DATA = TensorDataset(torch.ones(4, 1), torch.ones(4, 1))


class Line(pl.LightningModule):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer, self.rates = kind, torch.nn.Linear(1, 1), []

    def on_train_epoch_start(self):
        self.rates.append(self.optimizers().param_groups[0]["lr"])

    def training_step(self, batch, number):
        return (self.layer(batch[0]) - batch[1]).square().mean()

    def validation_step(self, batch, number):
        self.log("val_loss", 1.0)  # never better: the plateau halves the rate after every epoch but the first

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        schedulers = {"plateau": {"scheduler": plateau, "monitor": "val_loss"}, "step": StepLR(optimizer, 1, gamma=0.5)}
        return {"optimizer": optimizer, "lr_scheduler": schedulers[self.kind]}


def rates(kind, epochs, start=None):
    keeps = ModelCheckpoint(dirpath=kind, filename="{epoch}", save_top_k=-1)
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, callbacks=[keeps],
                         enable_progress_bar=False, enable_model_summary=False)
    module = Line(kind)
    trainer.fit(module, DataLoader(DATA, 2), DataLoader(DATA, 2), ckpt_path=start)
    return module.rates


lost = {}
for kind in ("step", "plateau"):
    whole = rates(kind, 5)
    continued = rates(kind, 5, f"{kind}/epoch=2.ckpt")
    print(f"{kind:8} whole {whole}, continued after epoch 3 {continued}")
    lost[kind] = continued != whole[3:]
assert lost == {"step": False, "plateau": True}, "no longer as found"
PY
cd "$work"
venv/bin/python see.py 2>/dev/null
