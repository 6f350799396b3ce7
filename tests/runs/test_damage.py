"""A damaged run.db gives a clear error or the good rows, with the damage told: never a traceback or a wrong number."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Decision, EpochFinished, ModelFailed
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore

EPOCHS = 60
TRIALS = 250


class Truth:
    """All that was written, to hold what is read against."""

    def __init__(self, path: Path) -> None:
        reader = RunReader(path)
        assert reader.problems == ()
        self.info = reader.info()
        self.heartbeat = reader.heartbeat()
        self.models = {model.index: model for model in reader.models()[0]}
        self.epochs = {index: {epoch.epoch: epoch for epoch in reader.epochs(index)} for index in (1, 2)}
        self.events = dict(reader.events(limit=10_000))
        self.resources = dict(reader.resources())
        assert (len(self.models), len(self.epochs[1]), len(self.events)) == (2, EPOCHS, 3 * EPOCHS + 1)

    def check(self, path: Path) -> str:
        """Read everything: `refused`, `told` or `whole`. Fails on a wrong number and on any other exception."""
        try:
            reader = RunReader(path)
            assert reader.info() == self.info
            assert reader.heartbeat() == self.heartbeat
            models, _ = reader.models()
            assert all(self.models[model.index] == model for model in models)
            for index in (1, 2):
                epochs = reader.epochs(index)
                assert all(self.epochs[index][epoch.epoch] == epoch for epoch in epochs)
                curve = reader.series(index, "loss", 1_000)
                assert all(
                    low == high == self.epochs[index][epoch].loss for epoch, low, high in curve if low is not None
                )
            events = reader.events(limit=10_000)
            assert all(self.events[seq] == record for seq, record in events)
            resources = reader.resources()
            assert all(self.resources[seq] == record for seq, record in resources)
        except RunDirectoryError as error:
            return "refused" if str(path) in str(error) else f"refused without naming the file: {error}"
        if reader.problems:
            return "told"
        # Nothing was told: then all models and all of the history are there.
        assert len(models) == 2
        assert [epoch.epoch for epoch in epochs] == list(range(1, epochs[-1].epoch + 1)) if epochs else True
        assert len(events) == len(self.events)
        return "whole"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Truth]:
    from_conftest = _builders()
    path = tmp_path_factory.mktemp("original") / "run.db"
    models: list[ModelState] = from_conftest.model_states()
    store = RunStore.create(path, from_conftest.run_info(path.parent), models, clock=lambda: 5_000.0)
    for number in range(1, EPOCHS + 1):
        for index in (1, 2):
            event: EpochFinished = from_conftest.epoch(index, number, loss=index / number, epochs=EPOCHS)
            store.append(event)
            models[index - 1] = replace(
                models[index - 1], phase=TrainingPhase.TRAINING, epoch=number, metrics=event.metrics
            )
            store.put_model(models[index - 1])
        store.append(Decision(time=float(number), kind="admit", reason="there is room " * (number % 7)))
        store.add_resources({"time": float(number), "cpu_percent": 1.5 * number})
    store.append(
        ModelFailed(time=9.0, model="m", index=2, attempt=1, kind="exception", message="x" * 9_000, traceback="y")
    )
    assert store.close()
    return path.read_bytes(), Truth(path)


def _builders() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("run_builders", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_way_of_cutting_it_off(original: tuple[bytes, Truth], tmp_path: Path) -> None:
    content, truth = original
    path = tmp_path / "run.db"
    steps = max(1, len(content) // TRIALS)
    outcomes = set()
    for length in [*range(120), *range(120, len(content), steps), len(content) - 1]:
        path.write_bytes(content[:length])
        outcome = truth.check(path)
        assert outcome in ("refused", "told"), (length, outcome)
        outcomes.add(outcome)
    assert "refused" in outcomes


@pytest.mark.parametrize("seed", [1, 2])
def test_flipped_bits_and_bytes(original: tuple[bytes, Truth], tmp_path: Path, seed: int) -> None:
    content, truth = original
    chosen = random.Random(seed)
    path = tmp_path / "run.db"
    outcomes: dict[str, int] = {}
    # All of the header once, then anywhere.
    positions = [*(range(100) if seed == 1 else ()), *(chosen.randrange(len(content)) for _ in range(TRIALS))]
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1 << chosen.randrange(8) if chosen.random() < 0.7 else chosen.randrange(1, 256)
        path.write_bytes(changed)
        outcome = truth.check(path)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert set(outcomes) == {"refused", "told", "whole"}, outcomes


def test_overwritten_pages(original: tuple[bytes, Truth], tmp_path: Path) -> None:
    content, truth = original
    chosen = random.Random(3)
    path = tmp_path / "run.db"
    for start in range(0, len(content), 4096):
        for filling in (bytes(4096), chosen.randbytes(4096), content[4096:8192]):
            path.write_bytes(content[:start] + filling + content[start + 4096 :])
            assert truth.check(path) in ("refused", "told", "whole"), start


def test_a_damaged_database_is_not_written_on(original: tuple[bytes, Truth], tmp_path: Path) -> None:
    content, _ = original
    chosen = random.Random(4)
    path = tmp_path / "run.db"
    refused, named = 0, True
    for _ in range(60):
        changed = bytearray(content)
        for _ in range(3):
            changed[chosen.randrange(len(content))] ^= chosen.randrange(1, 256)
        path.write_bytes(changed)
        try:
            RunStore.open(path).close()
        except RunDirectoryError as error:
            refused += 1
            named = named and str(path) in str(error)
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert refused > 0
    assert named


def test_checksums_cover_every_column(original: tuple[bytes, Truth], tmp_path: Path) -> None:
    content, _ = original
    path = tmp_path / "run.db"
    path.write_bytes(content)
    columns = [row[1] for row in sqlite3.connect(path).execute("PRAGMA table_info(epochs)")]
    for column in columns:
        path.write_bytes(content)
        database = sqlite3.connect(path)
        change = "model || 'x'" if column == "model" else f"coalesce({column}, 0) + 1000"
        with database:
            database.execute(f"UPDATE epochs SET {column} = {change} WHERE seq = 1")
        database.close()
        reader = RunReader(path)
        reader.epochs(1)
        reader.events()
        assert reader.problems, column
