"""Lightning's own `Trainer` with our callback."""

from __future__ import annotations

import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from held_runs import HOLD, record_of, run_twice
from held_runs import reported as rows_of
from running import events, forge
from trials import Run, reported

from forge_tui.errors import TrialError
from forge_tui.protocol.events import CheckpointSaved
from forge_tui.protocol.job import Outcome
from forge_tui.training.trial import Trial

pytest.importorskip("lightning", reason="lightning is not installed; .ci/run-peers installs it")

CODE = """
import lightning.pytorch as pl
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from forge_tui.integrations.lightning import Report

STEPS = 4
INPUTS = torch.randn(8 * STEPS, 4, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(INPUTS, INPUTS[:, :1] * INPUTS[:, 1:2])


class Line(pl.LightningModule):
    # The learning rate halves every epoch: no loss is better than another by 10.

    def __init__(self, at_step, extra=None, frequency=1):
        super().__init__()
        self.save_hyperparameters(ignore=["at_step"])
        self.at_step = at_step
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))

    def training_step(self, batch, number):
        self.at_step(self.current_epoch + 1, number + 1)
        loss = nn.functional.mse_loss(self.layers(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("rate", self.optimizers().param_groups[0]["lr"], on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, number):
        self.log("val_loss", nn.functional.mse_loss(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=10, threshold_mode="abs")
        stepped = {"scheduler": plateau, "monitor": "val_loss", "frequency": self.hparams.frequency}
        return {"optimizer": optimizer, "lr_scheduler": stepped}


def fit(trial, at_step, continues=True, extra=None, validate=1, **of_report):
    report = Report(trial, **of_report)
    module = Line(at_step, extra, validate)
    trainer = pl.Trainer(
        max_epochs=trial.epochs, accelerator=trial.device.type, devices=1, callbacks=[report], logger=False,
        enable_progress_bar=False, enable_model_summary=False, check_val_every_n_epoch=validate,
    )
    loaders = DataLoader(DATA, 8, shuffle=True), DataLoader(DATA, 8)
    trainer.fit(module, *loaders, ckpt_path=report.ckpt_path if continues else None)
    trial.save(module)


def train(trial, kills: str = ""):
    fit(trial, lambda epoch, step: hold(trial, kills, epoch, step))
"""


@pytest.fixture(scope="module")
def fit() -> Callable[..., None]:
    space: dict[str, Any] = {}
    exec(CODE, space)
    found: Callable[..., None] = space["fit"]
    return found


def nothing(epoch: int, step: int) -> None:
    """At a step."""


def breaking(epoch: int, step: int) -> None:
    """At a step."""
    if (epoch, step) == (3, 2):
        raise RuntimeError("broken")


def test_killed_models_end_as_undisturbed_ones(tmp_path: Path) -> None:
    """Their data is shuffled, they have dropout, and a scheduler that Lightning steps after an epoch's checkpoint."""
    (tmp_path / "line.py").write_text(HOLD + CODE, encoding="utf-8")
    whole, broken = run_twice(tmp_path, "--train", "line.py", seed=20261201, epochs=4, steps=4)
    rows = rows_of(record_of(whole, "cognate_line_1.safetensors"))
    assert set(rows[0][1]) == {"loss", "validation_loss", "rate"}
    assert [row["rate"] for _, row in rows] == pytest.approx([0.1, 0.1, 0.05, 0.025])
    files = broken / "checkpoints" / "cognate_line_1" / "files" / "lightning"
    assert sorted(path.name for path in files.iterdir()) == ["epoch-000003.ckpt", "epoch-000004.ckpt"]


def test_a_stop_ends_fit_after_the_checkpoint_of_the_epoch(run: Callable[..., Run], fit: Callable[..., None]) -> None:
    whole, broken = (run(training={"epochs": 5}, run={"stop_seconds": 0.0}) for _ in range(2))
    assert whole.attempt(lambda trial: fit(trial, nothing)) is Outcome.COMPLETED
    before = signal.getsignal(signal.SIGTERM)

    def at_step(epoch: int, step: int) -> None:
        assert signal.getsignal(signal.SIGTERM) is before
        if (epoch, step) == (2, 3):
            broken.control.request_stop()

    assert broken.attempt(lambda trial: fit(trial, at_step, every_n_epochs=5)) is Outcome.STOPPED
    assert [event.epoch for event in broken.of(CheckpointSaved)] == [2]
    assert broken.attempt(lambda trial: fit(trial, nothing, every_n_epochs=5), 2) is Outcome.COMPLETED
    assert [event.epoch for event in broken.of(CheckpointSaved)] == [2, 5]
    assert broken.record["sha256"] == whole.record["sha256"]


def test_an_epoch_without_validation_does_not_repeat_the_last_one(
    run: Callable[..., Run], fit: Callable[..., None]
) -> None:
    made = run()
    made.attempt(lambda trial: fit(trial, nothing, validate=2, names={"val_loss": "error"}, goal={"error": "lower"}))
    assert [(epoch, "error" in metrics, "loss" in metrics) for epoch, metrics in reported(made)] == [
        (1, False, True), (2, True, True), (3, False, True), (4, True, True),
    ]  # fmt: skip
    assert [(one["name"], one["goal"]) for one in made.declared] == [("error", "lower")]


def test_a_checkpoint_that_could_not_be_loaded_fails_at_once(run: Callable[..., Run], fit: Callable[..., None]) -> None:
    made = run()
    with pytest.raises(TrialError, match="holds objects that are refused when it is loaded") as caught:
        made.attempt(lambda trial: fit(trial, nothing, extra=Fraction(1, 2)))
    assert "self.save_hyperparameters(ignore=[…])" in str(caught.value)
    assert not made.of(CheckpointSaved)


def test_a_trainer_that_begins_anew_is_refused(run: Callable[..., Run], fit: Callable[..., None]) -> None:
    made = run()
    with pytest.raises(RuntimeError, match="broken"):
        made.attempt(lambda trial: fit(trial, breaking))

    def again(trial: Trial) -> None:
        fit(trial, nothing, continues=False)

    with pytest.raises(TrialError, match=r"continues: call trainer\.fit\(…, ckpt_path=report\.ckpt_path\)"):
        made.attempt(again, 2)


def test_the_starting_point_trains_as_it_is_written(tmp_path: Path) -> None:
    said = forge("new", "mine", "--kind", "lightning", cwd=tmp_path).stdout
    assert said.splitlines()[-1] == "  forge-tui --settings mine/settings.toml"
    run = ("--settings", "mine/settings.toml", "--no-ui", "--json", "--policy", "dedicated", "--threads", "1")
    lines = events(forge(*run, cwd=tmp_path).stdout)
    done = [line for line in lines if line["event"] == "model_completed"]
    assert sorted(Path(line["path"]).name for line in done) == [f"cognate_classifier_{one}" for one in (1, 2, 3)]
    assert all(line["validation_accuracy"] > 0.9 for line in done)
