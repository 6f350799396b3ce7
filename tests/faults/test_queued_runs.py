"""Runs that wait for others (`--after`), and what is run at their end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import environment
from running import SMALL, epochs_of, forge, kill_all, processes_of, wait_until, weights

from forge_tui.client.run import Run

SHORT = ("--no-ui", "--detach", "--epochs", "2", "--models", "1", *SMALL)
LONG = ("--no-ui", "--detach", "--epochs", "100000000", "--checkpoint-interval", "100000000", "--models", "1", *SMALL)
PACE = {"do": "pace", "seconds": 0.2, "epoch": 1}


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """Holds the runs; whatever is left of them is ended."""
    yield tmp_path
    for directory in tmp_path.iterdir():
        kill_all(processes_of(directory))


def status(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(forge("status", directory, "--json").stdout)
    return found


def reasons(directory: Path, state: str) -> list[str]:
    """Why the run came into a state, each time."""
    with Run(directory) as run:
        records = [record for _, record in run.events()]
    return [
        record["reason"] for record in records if record["event"] == "run_state_changed" and record["state"] == state
    ]


def test_chain_of_three_goes_on_when_the_first_is_killed_and_one_that_waits_can_be_stopped(base: Path) -> None:
    first, second, third, told = base / "first", base / "second", base / "third", base / "told"
    with environment(base, {1: PACE}):
        forge(*LONG, "--output", first)
    finish = ["/bin/sh", "-c", 'echo "$0 $1 $2 {other}" > ' + str(told), "{run}", "{state}", "{directory}"]
    forge(*SHORT, "--output", second, "--after", first, "--set", f"run.on_finish={json.dumps(finish)}")
    forge(*SHORT, "--output", third, "--after", second)
    assert reasons(second, "queued") == ["waits until first has ended (--after)"]
    assert status(third)["state"] == "queued"
    assert processes_of(second, "fork server") == []  # what waits takes no memory
    assert "it has not begun; stop ends it" in forge("pause", third, status=1).stderr
    forge("stop", third)
    forge("wait", third, status=1)
    assert (status(third)["state"], status(second)["state"]) == ("stopped", "queued")
    kill_all(processes_of(first))
    forge("wait", second)
    assert (status(first)["state"], status(second)["state"]) == ("died", "completed")
    wait_until(told.exists, "the command at the end")
    wait_until(lambda: told.read_text(encoding="utf-8"), "what it tells")
    assert told.read_text(encoding="utf-8") == f"second completed {second} {{other}}\n"
    forge("resume", third, "--no-ui")
    assert weights(third) == weights(second)


def test_deleted_predecessor_is_waited_for_no_longer(base: Path) -> None:
    first, second = base / "first", base / "second"
    with environment(base, {1: PACE}):
        forge(*LONG, "--output", first)
    wait_until(lambda: epochs_of(first) >= 1, "an epoch")
    left = processes_of(first)
    forge(*SHORT, "--output", second, "--after", first)
    shutil.rmtree(first)
    forge("wait", second)
    assert status(second)["state"] == "completed"
    kill_all(left)
    refused = forge(*SHORT, "--output", base / "third", "--after", first, status=None)
    assert refused.returncode in (2, 4)
    assert "first" in refused.stderr
    assert not (base / "third").exists()
