"""Attempts of training functions within the test's process: a fake runner hears what they send."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_jobs import JobMaker

from forge_tui.protocol.events import EpochFinished, Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.training import train_function
from forge_tui.training.trial_worker import TrialWorker

Function = Callable[..., Any]


CALLED: list[Function] = []


@dataclass
class Run:
    """Carries out attempts of one model, and keeps what they said."""

    job: Job
    events: list[Event] = field(default_factory=list)
    declared: list[dict[str, Any]] = field(default_factory=list)
    control: Control = field(default_factory=Control)
    rungs: list[tuple[int, float | None]] = field(default_factory=list)

    def attempt(self, function: Function, number: int = 1, keeps: bool = True) -> Outcome:
        job = dataclasses.replace(self.job, attempt=number)
        self.control = Control()

        def at_rung(of: Job, epoch: int, measure: float | None) -> None:
            self.rungs.append((epoch, measure))
            self.control.rung(of.index, epoch, keeps)

        worker = TrialWorker(
            job, self.events.append, self.control, at_rung, lambda _, metrics: self.declared.extend(metrics)
        )
        CALLED.append(lambda trial, **values: function(trial, **values))
        try:
            return worker.run()
        finally:
            CALLED.pop()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((Path(self.job.directory) / f"{self.job.model}.json").read_bytes())
        return record

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in (Path(self.job.directory) / "checkpoints" / self.job.model).iterdir())


@pytest.fixture
def run(make_job: JobMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs of one model, whose training function is the argument of `Run.attempt`."""
    file = tmp_path / "code" / "loop.py"
    file.parent.mkdir()
    file.write_text("def train(trial, **values):\n    CALLED[-1](trial, **values)\n", encoding="utf-8")
    load = train_function.CustomFunction

    def loaded(*arguments: Any) -> Any:
        found = load(*arguments)
        found.function.__globals__["CALLED"] = CALLED
        return found

    monkeypatch.setattr(train_function, "CustomFunction", loaded)

    def made(rungs: tuple[int, ...] = (), **tables: Any) -> Run:
        training = {"epochs": 4, "train": str(file), **tables.pop("training", {})}
        values = tables.pop("model", {})
        job = make_job(directory=f"run{len(list(tmp_path.iterdir()))}", training=training, **tables)
        return Run(dataclasses.replace(job, rungs=rungs, settings={**job.settings, "model": values}))

    return made


def reported(run: Run) -> list[tuple[int, dict[str, float | None]]]:
    """The epochs that were reported, in that order."""
    return [(event.epoch, event.metrics) for event in run.of(EpochFinished)]
