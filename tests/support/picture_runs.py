"""Runs for pictures: every phase and state there is, with curves and a log, at times that never change."""

from __future__ import annotations

import calendar
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from measured import remeasured
from run_directories import RunMaker, loss_at

from forge_tui.protocol.events import (
    Event,
    ModelCompleted,
    ModelFailed,
    ModelStarted,
    RunStarted,
    WorkerLimited,
)
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig

RUN = "20261123-140000-planner"


def share(index: int) -> float:
    """What a model's losses are multiplied with, so that no two curves are the same."""
    return 0.6 + 0.17 * index


def trained(maker: RunMaker, index: int, phase: TrainingPhase, epoch: int, **more: Any) -> ModelState:
    """A model with a loss of its own and the trend that belongs to it."""
    losses = tuple(share(index) * loss_at(number) for number in range(max(1, epoch - 23), epoch + 1))
    known: dict[str, Any] = {"trend": losses}
    if epoch:
        known |= {
            "loss": losses[-1],
            "best_loss": min(losses),
            "validation_loss": 1.25 * losses[-1],
            "validation_accuracy": min(0.99, 0.5 + 0.005 * epoch + 0.004 * index),
            "eta_seconds": None if phase.is_final else 1.3 * (100 - epoch) + index,
            "steps_per_second": 150.0 + 3 * index,
            "checkpoint_epoch": epoch // 10 * 10,
            "checkpoint_step": 20 * (epoch // 10 * 10),
        }
    return maker.model(index, phase, epoch=epoch, **(known | more))


def twelve(maker: RunMaker, name: str = "cognate_planner_{}") -> list[ModelState]:
    """Twelve models in every phase there is: one failed for want of memory, one diverged."""
    phases = TrainingPhase
    plan = [
        (phases.COMPLETED, 100), (phases.COMPLETED, 100), (phases.COMPLETED, 100), (phases.TRAINING, 97),
        (phases.TRAINING, 61), (phases.CHECKPOINTING, 40), (phases.FAILED, 33), (phases.TRAINING, 27),
        (phases.PAUSED, 12), (phases.INITIALIZING, 0), (phases.CANCELLED, 5), (phases.QUEUED, 0),
    ]  # fmt: skip
    models = []
    for index, (phase, epoch) in enumerate(plan, 1):
        if phase is phases.FAILED:
            model = maker.failed(index, epoch, trend=tuple(loss_at(number) for number in range(10, epoch + 1)))
        else:
            model = trained(maker, index, phase, epoch)
        if index == 8:
            model = remeasured(model, diverged=True, loss=None, trend=(*model.trend[:-3], None, None, None))
        if index in (10, 12):
            model = replace(model, started=None if index == 12 else model.started, parameters=None, device=None)
        models.append(replace(model, name=name.format(index)))
    return models


def curves(models: list[ModelState]) -> list[Event]:
    """The epochs of the models, each with a curve of its own; a model that diverged has no loss at its end."""
    found: list[Event] = []
    for model in models:
        for event in RunMaker.history(model, model.epoch):
            loss = math.nan if model.diverged and event.epoch > model.epoch - 3 else share(model.index) * event.loss
            found.append(remeasured(event, loss=loss, validation_loss=1.25 * share(model.index) * loss_at(event.epoch)))
    return found


def told(models: list[ModelState], created: float) -> list[Event]:
    """What a runner tells of a run beside its epochs, for the log."""
    found: list[Event] = [
        RunStarted(
            time=created, mode="parallel", models=len(models), epochs=100, settings="settings.toml", output="runs"
        ),
        WorkerLimited(
            time=created, requested=6, workers=2, policy="shared", reason="2 instead of 6: CPU limit, half of 4 CPUs",
            limited_by="cpu", hint="--policy dedicated",
        ),
    ]  # fmt: skip
    for model in models:
        about = {"model": model.name, "index": model.index, "attempt": model.attempt}
        if model.epoch and model.parameters:
            found.append(
                ModelStarted(
                    time=created + 10.0 * model.index, config={}, seed=model.seed, parameters=model.parameters,
                    worker=4000 + model.index, device="cpu", threads=2, **about,
                )
            )  # fmt: skip
        for failure in model.failures:
            found.append(
                ModelFailed(
                    time=failure.time or created, kind=failure.kind, message=failure.message,
                    will_retry=failure.attempt == 1, **(about | {"attempt": failure.attempt}),
                )
            )  # fmt: skip
        if model.phase is TrainingPhase.COMPLETED:
            path = f"runs/20261123-140000-planner/{model.name}"
            found.append(
                ModelCompleted(time=model.finished or created, path=path, metrics={"loss": model.loss}, **about)
            )
    return sorted(found, key=lambda event: event.time)


def make(maker: RunMaker, name: str, state: RunState, models: list[ModelState], **info: Any) -> Path:
    """A run with a curve for each model and a log, created when its name says."""
    ago = maker.now - calendar.timegm(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
    events = [*told(models, maker.now - ago), *curves(models)]
    path = maker.make(
        name, state, models, histories={model.index: 0 for model in models}, events=events, ago=ago,
        limit_hint="--policy dedicated", threads=1, limit_reason="2 instead of 6: CPU limit: at most half of 4 CPUs",
        **info,
    )  # fmt: skip
    settings = Settings(
        training=TrainingConfig(training_mode="parallel", max_parallel_workers=6),
        run=RunSettings(models=max(1, len(models)), output=f"runs/{name}"),
    )
    write_settings(settings, path / "settings.toml")
    return path


def mixed(maker: RunMaker, name: str = "cognate_planner_{}") -> Path:
    """A live run of twelve models in every phase."""
    models = twelve(maker, name)
    return make(maker, RUN, RunState.RUNNING, models)


def swept(maker: RunMaker) -> Path:
    """A live run of two seeds of each of four configs."""
    models = [
        replace(
            model,
            combination={"learning_rate": 0.001 if index < 4 else 0.003, "batch_size": 32 if index % 4 < 2 else 64},
        )
        for index, model in enumerate(twelve(maker)[:8])
    ]
    return make(maker, RUN, RunState.RUNNING, models)


def several(maker: RunMaker) -> Path:
    """Runs in every state, the newest of them live."""
    phases = TrainingPhase
    training = [trained(maker, 1, phases.TRAINING, 61), trained(maker, 2, phases.QUEUED, 0)]
    path = make(maker, RUN, RunState.RUNNING, training)
    make(maker, "20261123-142000-reasoner", RunState.PAUSED, training, model_type="reasoner")
    make(maker, "20261123-110210-planner", RunState.DIED, training)
    failed = [trained(maker, 1, phases.COMPLETED, 100), maker.failed(2)]
    make(maker, "20261122-201500-planner", RunState.FAILED, failed, reason="1 of 2 models failed")
    done = [trained(maker, index, phases.COMPLETED, 100) for index in range(1, 4)]
    make(maker, "20261121-083000-memory", RunState.COMPLETED, done, model_type="memory", mode="series")
    make(maker, "20261120-083000-planner", RunState.STOPPED, training, reason="stopped by ada")
    make(maker, "20251020-090000-planner-with-a-name-that-somebody-chose", RunState.KILLED, training)
    broken = make(maker, "20261101-083000-planner", RunState.DIED, training)
    (broken / "run.db").write_bytes(b"rubbish" * 1000)
    return path
