"""Runs whose workers have the faults of `faults/sitecustomize.py`, for tests that share a run between them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import events, forge, weights

FAULTS = Path(__file__).parent / "faults"


def planner(index: int) -> str:
    """NAME of a run's model."""
    return f"cognate_planner_{index}"


@contextmanager
def environment(base: Path, faults: dict[int, dict[str, Any]] | None = None) -> Iterator[None]:
    """What is started inside has its state below `base`, and its workers these faults (by index of their model)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(base / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(base / "config"))
        for name in [name for name in os.environ if name.startswith("FORGE_TUI_")]:
            patch.delenv(name)
        if faults is not None:
            patch.setenv("PYTHONPATH", str(FAULTS))
            patch.setenv("WORKER_FAULTS", json.dumps({planner(index): fault for index, fault in faults.items()}))
        yield


def at_same_priority() -> dict[str, str]:
    """An environment in which a run with the policy `shared` takes its part of a busy machine as all others do."""
    return {**os.environ, "PYTHONPATH": str(FAULTS), "SAME_PRIORITY": "1"}


@dataclass(frozen=True)
class Done:
    """A run that has ended: its directory, exit status, events, and what it said to the user."""

    directory: Path
    status: int
    events: list[dict[str, Any]]
    err: str

    def of(self, index: int, event: str) -> list[dict[str, Any]]:
        """The events of one kind about one model, oldest first."""
        return [record for record in self.events if record.get("index") == index and record["event"] == event]

    def decisions(self, kind: str) -> list[str]:
        """The reasons of all decisions of a kind."""
        return [record["reason"] for record in self.events if record["event"] == "decision" and record["kind"] == kind]

    def weights_of(self, index: int) -> bytes | None:
        """The bytes of a model's weights, None where it was not finished."""
        return weights(self.directory).get(f"{planner(index)}.safetensors")


def train(directory: Path, *arguments: str | Path) -> Done:
    """Run to the end in batch mode."""
    done = forge("--no-ui", "--json", *arguments, "--output", directory, status=None)
    return Done(directory, done.returncode, events(done.stdout), done.stderr)


def left_behind(directory: Path) -> list[psutil.Process]:
    """Processes with the run's id in their title, whoever started them: none are left when a run has ended.

    The directory's name has to be one that no other run has.
    """
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        title = " ".join(process.info["cmdline"] or ())
        if (
            title.startswith("forge-tui:")
            and f"({directory.name})" in title
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(process)
    return found
