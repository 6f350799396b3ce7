"""A Lightning module as a training function: forge-tui calls `train` once per model, in a process of its own.

`settings.toml` beside this file names this file. `trial` is what a model is trained with; every other parameter gets
the value under `[model]` that has its name, in the settings or of `--set model.NAME=VALUE`.
"""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import forge_tui
from forge_tui.integrations.lightning import Report


def spirals(count: int, seed: int) -> TensorDataset:
    """Points (N, 2) on two spirals, and which spiral each is on (N,), as 0.0 or 1.0."""
    generator = torch.Generator().manual_seed(seed)
    on = torch.randint(2, (count,), generator=generator)
    radius = torch.rand(count, generator=generator)
    angle = 7 * radius + torch.pi * on
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return TensorDataset(points + 0.01 * torch.randn(count, 2, generator=generator), on.float())


class Classifier(pl.LightningModule):
    """Tells the spirals apart. What it logs for an epoch becomes metrics of the run."""

    def __init__(self, lr: float, width: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        """The loss of a batch."""
        points, targets = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self.layers(points).squeeze(1), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        """Loss and accuracy on points that are held out."""
        points, targets = batch
        outputs = self.layers(points).squeeze(1)
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(outputs, targets))
        self.log("val_acc", ((outputs > 0) == (targets > 0.5)).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with the learning rate that is given."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])


def train(trial: forge_tui.Trial, lr: float = 0.01, width: int = 32) -> None:
    """Train one model: Python's, NumPy's and torch's generators are seeded with `trial.seed`."""
    report = Report(trial)
    module = Classifier(lr, width)
    trainer = pl.Trainer(
        max_epochs=trial.epochs,
        accelerator=trial.device.type,
        devices=1,
        callbacks=[report],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=trial.directory,
    )
    training, validation = DataLoader(spirals(1000, 0), 50, shuffle=True), DataLoader(spirals(200, 1), 200)
    trainer.fit(module, training, validation, ckpt_path=report.ckpt_path, weights_only=True)
    trial.save(module)
