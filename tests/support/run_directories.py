"""Small run directories as a runner leaves them, made without training anything."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from measured import fields

from forge_tui.analysis.ranking import best_so_far
from forge_tui.protocol.events import EpochFinished, Event, ModelFailed, PhaseChanged
from forge_tui.protocol.model_state import ModelState, apply
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import RunLock
from forge_tui.runs.store import RunStore

TRACEBACK = """Traceback (most recent call last):
  File "/home/ada/project/training/worker.py", line 118, in train
    loss = criterion(model(features), targets)
  File "/home/ada/project/models/planner.py", line 77, in forward
    return self.head(self.body(x))
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 512.00 MiB free."""
MESSAGE = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 512.00 MiB free."


class RunMaker:
    """Makes runs below `base`, registers them, and holds the locks of live ones until `close`."""

    def __init__(self, base: Path, now: float | None = None) -> None:
        self.base = base
        self.now = time.time() if now is None else now
        self._locks: list[RunLock] = []
        self._stores: list[RunStore] = []

    def close(self) -> None:
        for store in self._stores:
            store.close(timeout=5.0)
        for lock in self._locks:
            lock.release()
        self._stores, self._locks = [], []

    def make(
        self,
        name: str = "20261123-150210-planner",
        state: RunState = RunState.COMPLETED,
        models: Sequence[ModelState] | None = None,
        *,
        histories: dict[int, int] | None = None,
        ago: float = 3600.0,
        count: int = 3,
        registered: bool = True,
        events: Sequence[Event] = (),
        **info: Any,
    ) -> Path:
        """A run that was created `ago` seconds ago. DIED: it says that it is running, and nobody holds its lock."""
        directory = RunDirectory(self.base / name)
        made = directory.create()
        created = self.now - ago
        recorded = RunState.RUNNING if state is RunState.DIED else state
        states = list(models) if models is not None else [self.model(index) for index in range(1, count + 1)]
        values: dict[str, Any] = {
            "run": name, "path": str(directory.path), "mode": "parallel", "policy": "shared",
            "model_type": "planner", "models": len(states), "epochs": 100, "created": created, "started": created,
            "state": recorded, "finished": None if recorded.is_live else created + 600.0, "host": "gpu7",
            "workers": 2, "requested": 6, "limit_reason": "half of 4 CPUs", **info,
        }  # fmt: skip
        record = RunInfo(**values)
        written = created + 300.0 if state is RunState.DIED else self.now
        store = RunStore.create(directory.database, record, states, made, clock=lambda: written)
        for event in events:
            store.append(event)
        for model in states:
            for event in self.history(model, (histories or {}).get(model.index, model.epoch)):
                store.append(event)
        store.flush()
        if state.is_live:
            self._locks.append(RunLock.acquire(directory.lock))
            self._stores.append(store)
        else:
            store.close()
        if registered:
            registry.register(record)
            if not recorded.is_live:
                ended = record.finished or created
                best = best_so_far(Snapshot(run=record, models=tuple(states), state=recorded, revision=0, time=ended))
                decided = None if best is None else (best.metric.title, best.value)
                registry.finished(directory.path, recorded.value, ended, best=decided, seconds=ended - created)
        return directory.path

    def register_only(self, count: int) -> None:
        """Many ended runs, each with an empty directory that only seems to hold a run."""
        for number in range(count):
            path = self.base / f"run-{number:04}"
            path.mkdir()
            (path / "run.db").touch()
            created = self.now - 10_000 - 60.0 * number
            registry.register(
                RunInfo(
                    run=path.name, path=str(path), mode="series", policy="shared", model_type="reasoner", models=1,
                    epochs=5, created=created,
                )
            )  # fmt: skip
            registry.finished(path, "completed", created + 30.0, best=("loss", 0.5), seconds=30.0)

    def model(self, index: int, phase: TrainingPhase = TrainingPhase.COMPLETED, **known: Any) -> ModelState:
        """A model that has come to its end, unless told otherwise."""
        epoch = known.pop("epoch", 100 if phase is TrainingPhase.COMPLETED else 0)
        values: dict[str, Any] = {
            "name": f"cognate_planner_{index}", "index": index, "seed": 41 + index, "epochs": 100, "phase": phase,
            "epoch": epoch, "step": 20 * epoch, "parameters": 100_213, "device": "cpu", "threads": 2,
            "started": self.now - 900.0, "finished": self.now - 300.0 if phase.is_final else None,
            "config": {"learning_rate": 0.001, "batch_size": 32, "grokfast_enabled": True, "layers": [64, 64]},
        }  # fmt: skip
        if epoch:
            values |= {
                "loss": loss_at(epoch), "best_loss": loss_at(epoch), "validation_loss": 1.2 * loss_at(epoch),
                "validation_accuracy": 0.972, "learning_rate": 0.001, "steps_per_second": 160.0,
                "epoch_seconds": 0.125, "eta_seconds": None if phase.is_final else 41.0,
            }  # fmt: skip
        return ModelState(**fields(values | known))

    def failed(self, index: int, epoch: int = 33, **known: Any) -> ModelState:
        """A model that failed twice, the second time for good."""
        model = self.model(index, TrainingPhase.TRAINING, epoch=epoch, **known)
        for attempt in (1, 2):
            about = {"model": model.name, "index": index, "attempt": attempt}
            model = replace(model, attempt=attempt)
            when = self.now - 400 + attempt
            model = apply(
                model,
                ModelFailed(
                    time=when, kind="out_of_memory", message=MESSAGE, traceback=TRACEBACK, will_retry=attempt == 1,
                    **about,
                ),
            )  # fmt: skip
        return apply(model, PhaseChanged(time=when, phase="failed", previous="training", **about))

    @staticmethod
    def history(model: ModelState, epochs: int) -> list[EpochFinished]:
        """The epochs of a model, with a falling loss."""
        return [
            EpochFinished(
                time=1_000.0 + epoch, model=model.name, index=model.index, attempt=model.attempt, epoch=epoch,
                epochs=model.epochs, step=20 * epoch, best_loss=loss_at(epoch), seconds=0.125, eta_seconds=1.0,
                metrics={
                    "loss": loss_at(epoch), "validation_loss": 1.2 * loss_at(epoch), "validation_accuracy": 0.5,
                    "learning_rate": 0.001, "steps_per_second": 160.0,
                },
            )
            for epoch in range(1, epochs + 1)
        ]  # fmt: skip


def loss_at(epoch: int) -> float:
    """A loss that falls, with a little noise that is always the same."""
    return 2.0 * math.exp(-epoch / 25) + 0.04 + 0.01 * math.sin(epoch * 1.7)


def write_checkpoint(path: Path, record: dict[str, Any], size: int = 4096) -> None:
    """A file with the header of a checkpoint and no tensors."""
    import json

    header = json.dumps({"__metadata__": {"forge_tui": json.dumps(record)}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * size)
