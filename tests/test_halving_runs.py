"""Whole runs with successive halving: who ends, the same every time, and remembered by a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from running import SMALL, begin, events, forge, has_ended, processes_of, wait_until

from forge_tui import client

RUN = (
    "--no-ui", *SMALL, "--models", "3", "--sweep", "learning_rate=0.03,0.001,0.01", "--epochs", "9", "--halving", "3",
    "--set", "data.samples=200", "--checkpoint-interval", "4",
)  # fmt: skip
RUNGS = (1, 3)


def ends(directory: Path) -> dict[int, int]:
    """The last epoch of each model."""
    with client.attach(directory) as run:
        return {model.index: model.epoch for model in run.snapshot().models}


def reference(losses: dict[int, dict[int, float]]) -> dict[int, int]:
    """Where each model ends, if they train one after another; `losses` by model and epoch, as far as it is known."""
    found, came = {}, {rung: [] for rung in RUNGS}  # type: dict[int, int], dict[int, list[float]]
    for index in sorted(losses):
        found[index] = 9
        for rung in RUNGS:
            loss = losses[index][rung]
            better = sum(1 for other in came[rung] if other <= loss)
            came[rung].append(loss)
            if better >= max(1, len(came[rung]) // 3):
                found[index] = rung
                break
    return found


def test_the_best_third_goes_on_from_a_rung_and_a_kill_changes_no_decision(run_directory: Path) -> None:
    whole, broken = run_directory / "whole", run_directory / "broken"
    told = events(forge(*RUN, "--json", "--output", whole).stdout)
    losses: dict[int, dict[int, float]] = {}
    for event in told:
        if event["event"] == "epoch_finished":
            losses.setdefault(event["index"], {})[event["epoch"]] = event["validation_loss"]
    expected = reference(losses)
    assert ends(whole) == expected
    assert set(expected.values()) == {1, 3, 9} or set(expected.values()) == {1, 9}, "the test needs some of each"
    pruned = [event["reason"] for event in told if event["event"] == "decision" and event["kind"] == "prune"]
    assert len(pruned) == sum(1 for epoch in expected.values() if epoch < 9)
    assert told[-1]["status"] == "completed"
    with client.attach(whole) as run:
        snapshot = run.snapshot()
    assert snapshot.overall_percent == 100.0
    assert snapshot.completed + snapshot.pruned == 9
    report = forge("report", whole).stdout
    assert "pruned at epoch 1: rank " in report
    assert forge("resume", whole, status=2).stderr.count("there is nothing to resume") == 1

    front_end = begin(*RUN, "--json", "--output", broken)
    wait_until(lambda: (broken / "run.db").exists() and sum(ends_so_far(broken)) >= 12, "some models have ended")
    for process in processes_of(broken, "runner"):
        process.kill()
    wait_until(lambda: has_ended(broken), "all processes are gone")
    front_end.communicate()
    forge("resume", broken, "--json", status=None)
    assert ends(broken) == ends(whole)
    assert reasons(broken) == reasons(whole)


def ends_so_far(directory: Path) -> list[int]:
    from forge_tui.errors import RunDirectoryError

    try:
        return list(ends(directory).values())
    except RunDirectoryError:
        return []


def reasons(directory: Path) -> dict[str, Any]:
    """Why each model ended."""
    found = json.loads(forge("status", directory, "--json").stdout)["models"]
    return {model["name"]: (model["phase"], model["pruned"], model["reason"]) for model in found}
