"""The clock set back and forward under a run: it goes on, and no viewer shows nonsense."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from faulty import environment
from running import SMALL, epochs_of, forge, wait_until, weights

from forge_tui.client.run import Run

_DAY = 86_400
ARGUMENTS = ("--no-ui", "--epochs", "60", "--models", "1", *SMALL)


def set_clock(file: Path, seconds: int) -> None:
    """Have the clock of everything that was started with `file` stand so far from the real one."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}", encoding="ascii")
    os.replace(fresh, file)


def told(*arguments: str | Path) -> str:
    """What a command prints, under the clock that its process has from its start."""
    return forge(*arguments, own_process=True).stdout


def test_clock_set_back_and_forward_does_nothing_to_a_run(run_directory: Path, tmp_path: Path) -> None:
    with environment(tmp_path):
        forge(*ARGUMENTS, "--output", tmp_path / "undisturbed")
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    looks = []
    with environment(tmp_path, {1: {"do": "pace", "seconds": 0.3, "epoch": 1}}), pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOCK_FILE", str(clock))
        begun = time.monotonic()
        told(*ARGUMENTS, "--detach", "--output", run_directory)
        for offset in (-_DAY, _DAY, -_DAY):
            before = wait_until(lambda: epochs_of(run_directory), "an epoch")
            set_clock(clock, offset)
            wait_until(lambda before=before: epochs_of(run_directory) >= before + 3, "the run to go on")
            looks.append(json.loads(told("status", run_directory, "--json")))
            assert "-1:" not in told("status", run_directory)
        told("wait", run_directory)
        lasted = time.monotonic() - begun
        text = told("report", run_directory)
    assert weights(run_directory) == weights(tmp_path / "undisturbed")
    assert [look["state"] for look in looks] == ["running"] * 3
    for look in looks:
        assert 0 <= look["elapsed_seconds"] <= lasted
        (model,) = look["models"]
        assert 0 <= model["active_since"] <= look["elapsed_seconds"]
        assert 0 <= look["age"] < _DAY / 2
        assert look["eta_seconds"] is None or 0 <= look["eta_seconds"] < 3_600
    assert "Took " in text
    with Run(run_directory) as run:
        found = run.events()
        snapshot = run.snapshot()
    records = [record for _, record in found]
    assert [seq for seq, _ in found] == sorted(seq for seq, _ in found)
    assert [record["epoch"] for record in records if record["event"] == "epoch_finished"] == list(range(1, 61))
    times = [record["time"] for record in records]
    assert min(b - a for a, b in pairwise(times)) < -_DAY / 2  # the clock really was set back
    assert all(0 < record["seconds"] < 60 for record in records if record["event"] == "epoch_finished")
    (finished,) = [record for record in records if record["event"] == "run_finished"]
    assert (finished["status"], 0 < finished["seconds"] < 600) == ("completed", True)
    assert 0 < snapshot.elapsed_seconds <= lasted
    (model,) = snapshot.models
    assert model.seconds is not None
    assert 0 < model.seconds <= snapshot.elapsed_seconds
