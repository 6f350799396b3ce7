"""Small runs to write and to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from measured import fields

from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.store import RunStore


def run_info(path: Path, models: int = 2, **changes: object) -> RunInfo:
    values = {
        "run": path.name, "path": str(path), "mode": "parallel", "policy": "shared", "model_type": "planner",
        "models": models, "epochs": 10, "created": 1_000.0, **changes,
    }  # fmt: skip
    return RunInfo(**values)  # type: ignore[arg-type]


def model_states(count: int = 2) -> list[ModelState]:
    return [ModelState(name=f"cognate_planner_{i}", index=i, seed=i - 1, epochs=10) for i in range(1, count + 1)]


def epoch(index: int, number: int, loss: float | None = 0.5, attempt: int = 1, **changes: object) -> EpochFinished:
    values = {
        "time": 1_000.0 + number, "model": f"cognate_planner_{index}", "index": index, "attempt": attempt,
        "epoch": number, "epochs": 10, "step": 20 * number, "loss": loss, "best_loss": 0.25, "learning_rate": 0.001,
        "seconds": 0.125, "steps_per_second": 160.0, "eta_seconds": 1.5, **changes,
    }  # fmt: skip
    return EpochFinished(**fields(values))  # type: ignore[arg-type]


class Runs:
    """Makes stores that are closed at the end of a test."""

    info = staticmethod(run_info)
    models = staticmethod(model_states)
    epoch = staticmethod(epoch)

    def __init__(self, base: Path) -> None:
        self.base = base
        self.stores: list[RunStore] = []

    def store(self, name: str = "run", models: int = 2, clock: Callable[[], float] = lambda: 5_000.0) -> RunStore:
        path = self.base / name
        path.mkdir()
        store = RunStore.create(path / "run.db", run_info(path, models), model_states(models), clock=clock)
        self.stores.append(store)
        return store


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    made = Runs(tmp_path)
    yield made
    for store in made.stores:
        store.close(timeout=5.0)
