"""Whole runs with early stopping: completed, at 100 %, with the reason told, alone and in a group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import events, forge

from forge_tui import client

RUN = (
    "--no-ui", "--json", "--model-size", "2000", "--policy", "dedicated", "--threads", "1", "--models", "3",
    "--learning-rate", "0.03", "--epochs", "60", "--patience", "3", "--set", "data.samples=110",
)  # fmt: skip


@pytest.mark.parametrize("mode", [("--mode", "series"), ("--mode", "parallel", "--fuse", "3", "--workers", "1")])
def test_models_that_stop_early_are_completed_and_trained_no_further(
    mode: tuple[str, ...], run_directory: Path
) -> None:
    told = events(forge(*RUN, *mode, "--output", run_directory).stdout)
    assert told[-1]["status"] == "completed"
    with client.attach(run_directory) as run:
        snapshot = run.snapshot()
    assert snapshot.overall_percent == 100.0
    for model in snapshot.models:
        found = json.loads((run_directory / f"{model.name}.json").read_text(encoding="utf-8"))
        assert (found["epochs_completed"], found["best_epoch"]) == (model.epoch, model.best_epoch)
        assert model.stopped_early
        assert model.epoch < 60
        assert model.reason == (
            f"stopped early at epoch {model.epoch}: its loss was not better since epoch {model.best_epoch} "
            "(training.patience = 3)"
        )
        # What is shown and compared is what the file holds.
        best = found["history"][model.best_epoch - 1]
        assert (model.loss, model.metrics.get("validation_loss")) == (best["loss"], best["validation_loss"])
    refused = forge("resume", run_directory, "--epochs", "90", status=2)
    assert "all its models stopped early" in refused.stderr
    ended = [event for event in told if event["event"] == "phase_changed" and event["phase"] == "completed"]
    assert sorted(event["reason"] for event in ended) == sorted(model.reason for model in snapshot.models)
