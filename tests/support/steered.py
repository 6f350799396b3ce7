"""A live run without workers: the runner's own steering answers its commands, and takes effect at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from forge_tui.protocol.events import ModelRetried
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner.journal import Journal
from forge_tui.runner.steering import Steering
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import RunLock
from forge_tui.runs.store import RunStore


class SteeredRun:
    """Holds the lock of a run directory and follows commands, until it is left or told to end.

    With `deaf` it takes no commands.
    """

    def __init__(self, path: Path, models: Sequence[ModelState], mode: str = "parallel", *, deaf: bool = False) -> None:
        self.directory = RunDirectory(path)
        self.directory.create()
        now = time.time()
        info = RunInfo(
            run=path.name, path=str(path), mode=mode, policy="shared", model_type="planner", models=len(models),
            epochs=100, created=now, started=now, state=RunState.RUNNING, workers=2, requested=2,
            limit_reason="half of 4 CPUs",
        )  # fmt: skip
        self._lock = RunLock.acquire(self.directory.lock)
        self._store = RunStore.create(self.directory.database, info, models)
        self.journal = Journal(self._store, info, models)
        self._steering = Steering(self.directory, self.journal, self)
        self._end = threading.Event()
        self._deaf = deaf
        self.is_pausing = False
        self.is_killing = False
        self.is_within_slots = True
        self._thread = threading.Thread(target=self._live, name="steered run")

    def __enter__(self) -> SteeredRun:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._store.close()
        self._lock.release()

    def phase_of(self, index: int) -> TrainingPhase:
        return self.journal.models[index].phase

    def _live(self) -> None:
        while not self._end.wait(0.01):
            if not self._deaf:
                self._steering.take()

    # --- what steering asks for

    def stop(self, reason: str) -> None:
        self._finish(RunState.STOPPED, reason)

    def kill(self, reason: str) -> None:
        self.is_killing = True
        self._finish(RunState.KILLED, reason)

    def _finish(self, state: RunState, reason: str) -> None:
        self.journal.run_state(RunState.STOPPING, reason)
        self._steering.finish(state)
        self.journal.finish(state, 1.0)
        self._store.flush()
        self._end.set()

    def pause(self, reason: str) -> None:
        self.is_pausing = True
        self.journal.run_state(RunState.PAUSED, reason)

    def unpause(self, reason: str) -> None:
        self.is_pausing = False
        self.journal.run_state(RunState.RUNNING, reason)

    def cancel(self, index: int, reason: str) -> None:
        self.journal.phase(index, TrainingPhase.CANCELLED, reason)

    def retry(self, index: int, reason: str) -> None:
        self.journal.phase(index, TrainingPhase.QUEUED, reason)
        model = self.journal.models[index]
        self.journal.record(
            ModelRetried(
                time=time.time(), model=model.name, index=index, attempt=model.attempt + 1, from_epoch=0, reason=reason
            )
        )

    def set_workers(self, requested: int, reason: str) -> str | None:
        if self.journal.info.mode == "series":
            return "the run is in series mode"
        self.journal.limit(WorkerLimit(min(requested, 4), requested, "shared", "half of 8 CPUs", "cpu", None, 1))
        return None
