"""Ignite's own `Engine` with our handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from trials import Run, reported

from forge_tui.errors import TrialError
from forge_tui.protocol.events import CheckpointSaved
from forge_tui.protocol.job import Outcome
from forge_tui.training.trial import Trial

engines = pytest.importorskip("ignite.engine", reason="pytorch-ignite is not installed; .ci/run-peers installs it")

INPUTS = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(INPUTS, INPUTS[:, :1] * INPUTS[:, 1:2])


def fit(trial: Trial, at_step: Callable[[int], object] = lambda number: None, **of_report: Any) -> None:
    from ignite.metrics import Average, MeanSquaredError

    from forge_tui.integrations.ignite import Report

    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    def step(engine: Any, batch: Any) -> float:
        at_step(engine.state.iteration)
        model.train()
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def validate(engine: Any, batch: Any) -> Any:
        model.eval()
        with torch.no_grad():
            return model(batch[0]), batch[1]

    trainer, evaluator = engines.Engine(step), engines.Engine(validate)
    Average().attach(trainer, "loss")
    MeanSquaredError().attach(evaluator, "loss")
    trainer.add_event_handler(engines.Events.EPOCH_COMPLETED, lambda: evaluator.run(DataLoader(DATA, 8)))
    trainer.add_event_handler(engines.Events.EPOCH_COMPLETED, lambda: scheduler.step())
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    Report(trial, parts, evaluators={"validation": evaluator}, **of_report).attach(trainer)
    trainer.run(DataLoader(DATA, 8, shuffle=True), max_epochs=trial.epochs)
    trial.save(model)


@pytest.mark.parametrize("way", ["stop", "failure"])
def test_what_continues_ends_as_undisturbed(run: Callable[..., Run], way: str) -> None:
    whole, broken = run(), run(run={"stop_seconds": 0.0})
    assert whole.attempt(fit) is Outcome.COMPLETED
    rows = [(row["epoch"], row["metrics"]) for row in whole.record["history"]]
    assert [(epoch, set(metrics)) for epoch, metrics in rows] == [
        (epoch, {"loss", "validation_loss"}) for epoch in (1, 2, 3, 4)
    ]
    assert whole.of(CheckpointSaved)[-1].step == 16

    def at_step(number: int) -> None:
        if number == 7 and way == "stop":
            broken.control.request_stop()
        if number == 11:
            raise RuntimeError("broken")

    if way == "stop":
        assert broken.attempt(lambda trial: fit(trial, at_step)) is Outcome.STOPPED
    else:
        with pytest.raises(RuntimeError, match="broken"):
            broken.attempt(lambda trial: fit(trial, at_step))
    assert [event.epoch for event in broken.of(CheckpointSaved)] == [1, 2]
    assert broken.attempt(fit, 2) is Outcome.COMPLETED
    assert broken.record["sha256"] == whole.record["sha256"]
    assert [(row["epoch"], row["metrics"]) for row in broken.record["history"]] == rows


def test_names_and_goals_are_those_that_are_given(run: Callable[..., Run]) -> None:
    made = run(training={"epochs": 1})
    made.attempt(lambda trial: fit(trial, names={"validation_loss": "error"}, goal={"error": "lower"}))
    ((_, metrics),) = reported(made)
    assert set(metrics) == {"loss", "error"}
    assert [(one["name"], one["goal"]) for one in made.declared] == [("error", "lower")]


def test_the_name_of_the_engine_is_taken(run: Callable[..., Run]) -> None:
    from forge_tui.integrations.ignite import Report

    with pytest.raises(TrialError, match="to_save has the name 'engine'"):
        run().attempt(lambda trial: Report(trial, {"engine": nn.Linear(1, 1)}))
