"""Lightning: a callback that reports the epochs of a `Trainer`, and keeps its checkpoints."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from forge_tui.errors import TrialError
from forge_tui.integrations.reporting import Goal, report
from forge_tui.training import random_state
from forge_tui.training.trial import Trial

_DIRECTORY = "lightning"


class Report(Checkpoint):
    """Reports every epoch to `trial`, saves Lightning's checkpoint of it, and ends `fit` when the trial is to stop.

    What the module logs for an epoch (`self.log`) becomes its metrics. `train_loss`, `val_loss` and `val_acc` become
    `loss`, `validation_loss` and `validation_accuracy`; `names` gives others: `names={"val_f1": "f1"}`. `goal` is as in
    `Trial.report`. A checkpoint is saved after every `every_n_epochs` epochs, and when the trial is to stop.

    Make it once per call of the training function, because it restores the trial's progress. Raises `TrialError` for a
    checkpoint that holds objects of other classes than Lightning loads again, and where `fit` is not given
    `ckpt_path`.
    """

    ckpt_path: Path | None
    """Where `fit` is to continue; None at the start of a model."""

    def __init__(
        self,
        trial: Trial,
        *,
        names: Mapping[str, str] | None = None,
        goal: Goal | None = None,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__()
        if every_n_epochs < 1:
            raise TrialError(f"every_n_epochs is {every_n_epochs}; it must be at least 1")
        self._trial, self._names, self._goal, self._every = trial, names, goal, every_n_epochs
        self._before: dict[str, Any] = {}
        self._is_loadable = False
        state: Any = trial.restore()
        self._random = None if state is None else random_state.capture(trial.device)
        self._kept: list[str] = [] if state is None else state["files"]
        self._monitored: dict[str, float] = {} if state is None else state["monitored"]
        self.ckpt_path = None if state is None else trial.directory / self._kept[-1]
        self._stop_handler = signal.getsignal(signal.SIGTERM)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random states: the data loader that is made next draws from them."""
        if self._random is not None:
            random_state.restore(self._random, self._trial.device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a trainer that begins anew, and take the step of schedulers that is not in the checkpoint."""
        # Lightning's own handler ends training within an epoch, without a checkpoint.
        signal.signal(signal.SIGTERM, self._stop_handler)
        if self._random is None:
            return
        self._random = None
        if trainer.ckpt_path is None or Path(trainer.ckpt_path) != self.ckpt_path:
            raise TrialError(f"{self._trial.name} continues: call trainer.fit(…, ckpt_path=report.ckpt_path)")
        for config in _plateaus(trainer, trainer.current_epoch):
            if config.monitor in self._monitored:
                pl_module.lr_scheduler_step(config.scheduler, self._monitored[config.monitor])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember what earlier epochs have logged."""
        self._before = dict(trainer.callback_metrics)

    def on_train_batch_end(self, trainer: Trainer, *batch: Any) -> None:
        """Show that training makes progress."""
        _ = self._trial.should_stop

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch and save its checkpoint. Called after all other callbacks."""
        epoch = trainer.current_epoch + 1
        # Without validation in this epoch Lightning still has the values of the last one.
        new = {name: value for name, value in trainer.callback_metrics.items() if value is not self._before.get(name)}
        saves = epoch % self._every == 0 or self._trial.should_stop
        report(self._trial, new, names=self._names, goal=self._goal, epoch=epoch, step=trainer.global_step, saves=saves)
        if saves:
            self._save(trainer, epoch)

    def _save(self, trainer: Trainer, epoch: int) -> None:
        directory = self._trial.directory
        name = f"{_DIRECTORY}/epoch-{epoch:06d}.ckpt"
        path = directory / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        trainer.save_checkpoint(path, weights_only=False)
        self._require_loadable(path)
        kept = [*(one for one in self._kept if one != name), name][-self._trial.settings.run.keep_checkpoints :]
        monitored = {
            config.monitor: float(trainer.callback_metrics[config.monitor])
            for config in _plateaus(trainer, epoch)
            if config.monitor in trainer.callback_metrics
        }
        if self._trial.checkpoint({"files": kept, "monitored": monitored}, epoch, files=path):
            self._kept = kept
            for old in path.parent.glob("*.ckpt"):
                if f"{_DIRECTORY}/{old.name}" not in kept:
                    old.unlink(missing_ok=True)

    def _require_loadable(self, path: Path) -> None:
        """Raise `TrialError` if Lightning will refuse the checkpoint when the model continues."""
        if self._is_loadable:
            return
        try:
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            words = str(error).strip().splitlines()
            raise TrialError(
                "Lightning's checkpoint holds objects that are refused when it is loaded (weights_only): "
                f"{words[0] if words else type(error).__name__}; leave them out, as with "
                "self.save_hyperparameters(ignore=[…]), or allow their class with torch.serialization.add_safe_globals"
            ) from error
        self._is_loadable = True


def _plateaus(trainer: Trainer, epoch: int) -> list[Any]:
    """The schedulers that are stepped by a metric at the end of `epoch`, from 1.

    Lightning 2.6 does so after the last hook of the epoch, and not when it continues from a checkpoint saved there.
    """
    module = trainer.lightning_module
    if module is None or not module.automatic_optimization:
        return []
    return [
        config
        for config in trainer.lr_scheduler_configs
        if config.reduce_on_plateau and config.interval == "epoch" and epoch % config.frequency == 0
    ]
