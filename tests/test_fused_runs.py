"""Whole runs whose workers train groups of models: `--fuse`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from running import SMALL, events, forge

from forge_tui import client

ARGUMENTS = (
    "--no-ui", "--json", *SMALL, "--mode", "parallel", "--workers", "2", "--models", "5", "--epochs", "6",
    "--set", "data.samples=320",
)  # fmt: skip


def record(directory: Path, index: int) -> dict[str, Any]:
    """What stands beside a finished model."""
    return json.loads((directory / f"cognate_planner_{index}.json").read_text(encoding="utf-8"))


def test_a_group_is_each_of_its_models(run_directory: Path) -> None:
    together, alone = run_directory / "together", run_directory / "alone"
    told = events(forge(*ARGUMENTS, "--fuse", "3", "--output", together).stdout)
    forge(*ARGUMENTS, "--output", alone)
    started = {event["model"]: event for event in told if event["event"] == "model_started"}
    names = [f"cognate_planner_{index}" for index in range(1, 6)]
    assert [started[name]["group"] for name in names] == [names[:3]] * 3 + [names[3:]] * 2
    assert len({event["worker"] for event in started.values()}) == 2
    for index in range(1, 6):
        ours, theirs = record(together, index), record(alone, index)
        assert ours["exact"]
        assert ours["seed"] == theirs["seed"] == index - 1
        assert ours["epochs_completed"] == 6
        for one, other in zip(ours["history"][:5], theirs["history"][:5], strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert forge("logs", together, "cognate_planner_2").stdout == forge("logs", together, "cognate_planner_1").stdout


def test_a_stopped_group_goes_on_to_the_same_bytes(run_directory: Path) -> None:
    whole, parts = run_directory / "whole", run_directory / "parts"
    fused = (*ARGUMENTS, "--fuse", "5", "--checkpoint-interval", "2")
    forge(*fused, "--output", whole)
    forge(*fused, "--epochs", "3", "--output", parts)
    forge("resume", parts, "--epochs", "6", "--json")
    for index in range(1, 6):
        name = f"cognate_planner_{index}.safetensors"
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_auto_measures_and_says_what_it_takes(run_directory: Path) -> None:
    directory = run_directory / "auto"
    forge(*ARGUMENTS, "--fuse", "auto", "--output", directory)
    more = events(forge("resume", directory, "--epochs", "8", "--json").stdout)
    assert more[-1]["status"] == "completed"
    with client.attach(directory) as run:
        recorded = [record for _, record in run.events(0)]
        assert run.snapshot().run.fuse == 1  # over in seconds: no group is worth it
    # The settings of the run still say `auto`; a resume keeps what it came to, and does not measure again.
    reasons = [event["reason"] for event in recorded if event["event"] == "decision" and event["kind"] == "group"]
    assert reasons == ["1 model per worker: a run of less than 5 s does not wait for groups to be measured"]
