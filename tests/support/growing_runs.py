"""Runs that grow while a test looks: epochs are recorded as a runner records them, and nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from run_directories import RunMaker, loss_at

from forge_tui.client import Run
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.model_state import ModelState, apply
from forge_tui.protocol.phases import RunState, TrainingPhase

BEGUN = 1_800_000_000.0


class GrowingRun:
    """A live run of a `RunMaker`, without epochs at first. Times grow by a second per epoch."""

    def __init__(self, maker: RunMaker, name: str = "growing", models: int = 2, **info: object) -> None:
        made = [
            maker.model(index, TrainingPhase.TRAINING, epoch=0, started=BEGUN, finished=None)
            for index in range(1, models + 1)
        ]
        self._maker = maker
        self.path: Path = maker.make(name, RunState.RUNNING, made, **{"created": BEGUN, **info})
        self._store = maker._stores[-1]
        self.models: dict[int, ModelState] = {model.index: model for model in made}
        self._now = BEGUN

    def train(
        self,
        index: int,
        epochs: Iterable[int],
        metrics: Mapping[str, float | None] | None = None,
        *,
        shift: float = 0.0,
    ) -> None:
        """Record epochs of a model; `shift` is added to their losses, `metrics` to each of them."""
        for epoch in epochs:
            self._now += 1.0
            loss = loss_at(epoch) + shift
            values: dict[str, float | None] = {
                "loss": loss, "validation_loss": 1.2 * loss, "steps_per_second": self._now - BEGUN, **(metrics or {}),
            }  # fmt: skip
            event = EpochFinished(
                time=self._now, model=self.models[index].name, index=index, attempt=1, epoch=epoch, epochs=100,
                step=20 * epoch, metrics=values, best_loss=loss, seconds=0.125, eta_seconds=1.0,
            )  # fmt: skip
            self._store.append(event)
            self.models[index] = apply(self.models[index], event)
            self._store.put_model(self.models[index])
        assert self._store.flush()

    def end_model(self, index: int, phase: TrainingPhase, **known: object) -> None:
        """A model ends."""
        self._now += 1.0
        known = {"phase": phase, "finished": self._now, **known}
        self.models[index] = dataclasses.replace(self.models[index], **known)  # type: ignore[arg-type]
        self._store.put_model(self.models[index])
        assert self._store.flush()

    def end(self, state: RunState = RunState.COMPLETED) -> None:
        """The run ends."""
        self._now += 1.0
        with Run(self.path) as run:
            info = run.snapshot().run
        self._store.put_run(dataclasses.replace(info, state=state, finished=self._now))
        assert self._store.flush()
        self._maker.close()

    def expected(self) -> dict[str, list[EpochFinished]]:
        """The epochs of each model, as the run's own reports have them."""
        with Run(self.path) as run:
            models = run.snapshot().models
            return {model.name: run.history(model.index) for model in models}
