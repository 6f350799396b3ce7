"""Open a run's records, new or from earlier, and carry the run through to its recorded end."""

from __future__ import annotations

import contextlib
import getpass
import os
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import forge_tui
from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.progress.events import CommandAnswered, RunStarted, WorkerLimited
from forge_tui.progress.phases import RunState, TrainingPhase
from forge_tui.progress.snapshot import ModelState, RunInfo
from forge_tui.resources.hardware import detect
from forge_tui.runner.governor import GIB, Governor
from forge_tui.runner.journal import Journal
from forge_tui.runner.local import LocalLauncher
from forge_tui.runner.prepare import Plan
from forge_tui.runner.request import Request
from forge_tui.runner.scheduler import Scheduler
from forge_tui.runs import commands, registry
from forge_tui.runs.layout import RunDirectory, model_name
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore
from forge_tui.settings.files import read_settings, write_settings
from forge_tui.settings.schema import Settings, from_plain, to_plain


@dataclass(slots=True)
class Opened:
    """A run whose records are open for writing, and all that is needed to carry it out."""

    directory: RunDirectory
    settings: Settings
    plan: Plan
    store: RunStore
    journal: Journal
    launcher: LocalLauncher | None = None
    selector: selectors.BaseSelector | None = None

    def attach(self, launcher: LocalLauncher, selector: selectors.BaseSelector) -> None:
        """Give it the workers' launcher and the selector it waits on."""
        self.launcher, self.selector = launcher, selector


def open_new(request: Request, directory: RunDirectory, settings: Settings, plan: Plan, log: Path) -> Opened:
    """Move an earlier run away if asked to, then write settings, database and registry entry of a new one."""
    if request.previous == "move":
        directory.move_to_previous()
    os.replace(log, directory.log("runner"))
    write_settings(settings, directory.settings)
    training, run = settings.training, settings.run
    info = RunInfo(
        run=directory.id,
        path=str(directory.path),
        mode=training.training_mode,
        policy=settings.resources.policy,
        model_type=training.model_type,
        models=run.models,
        epochs=training.epochs,
        created=time.time(),
        host=socket.gethostname(),
        runner=os.getpid(),
        user=getpass.getuser(),
        threads=plan.threads,
        device=plan.job.device,
        working_directory=request.working_directory,
        version=forge_tui.__version__,
    )
    models = [
        ModelState(
            name=model_name(training.model_type, index),
            index=index,
            seed=run.seed + index - 1,
            epochs=training.epochs,
        )
        for index in range(1, run.models + 1)
    ]
    store = RunStore.create(directory.database, info, models)
    journal = Journal(store, info, models)
    journal.record(
        RunStarted(
            time=journal.clock(),
            mode=info.mode,
            models=info.models,
            epochs=info.epochs,
            settings=str(directory.settings),
            output=str(directory.path),
        )
    )
    _register(journal)
    return Opened(directory, settings, plan, store, journal)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that was there, read before anything of it is changed."""

    directory: RunDirectory
    settings: Settings
    info: RunInfo
    models: tuple[ModelState, ...]

    def reopen(self, plan: Plan) -> Opened:
        """Open the records for writing and queue every model that is not completed."""
        write_settings(self.settings, self.directory.settings)
        store = RunStore.open(self.directory.database)
        journal = Journal(store, self.info, self.models)
        epochs = self.settings.training.epochs
        journal.put_info(replace(self.info, epochs=epochs, runner=os.getpid(), host=socket.gethostname()))
        journal.run_state(RunState.QUEUED, f"resumed, was {self.info.state}")
        for model in self.models:
            if model.phase is TrainingPhase.COMPLETED and model.epochs >= epochs:
                continue
            attempt = model.attempt + (model.phase is TrainingPhase.FAILED)
            journal.models[model.index] = replace(
                model, attempt=attempt, epochs=epochs, epoch=model.checkpoint_epoch, worker=None, path=None
            )
            journal.phase(model.index, TrainingPhase.QUEUED, "resumed")
        _register(journal)
        return Opened(self.directory, self.settings, plan, store, journal)


def refuse_earlier(directory: RunDirectory) -> None:
    """Raise `RunDirectoryError` if a run is there already."""
    if directory.holds_run():
        raise RunDirectoryError(
            f"{directory.path} holds a run already; go on with it: `forge-tui resume {directory.path}`, "
            "or move its files to previous-N/ with --overwrite"
        )


def open_earlier(request: Request, directory: RunDirectory) -> Earlier:
    """Read the run that is to be resumed. Raises `RunDirectoryError` or `UsageError` if there is nothing to resume."""
    if not directory.holds_run():
        raise RunDirectoryError(f"{directory.path}: there is no run here; `forge-tui runs` lists the known ones")
    settings = read_settings(directory.settings)
    with contextlib.closing(RunReader(directory.database)) as reader:
        info = reader.info()
        models, _revision = reader.models(0)
    epochs = request.epochs if request.epochs is not None else settings.training.epochs
    longest = max((model.epochs for model in models), default=0)
    if epochs < longest:
        raise UsageError(f"--epochs {epochs}: the run has {longest} epochs; give as many or more to train further")
    if all(model.phase is TrainingPhase.COMPLETED and model.epochs >= epochs for model in models):
        raise UsageError(
            f"run {directory.id} is completed: there is nothing to resume; --epochs N with more than {longest} "
            "trains it further"
        )
    plain = to_plain(settings)
    plain["training"]["epochs"] = epochs
    return Earlier(directory, from_plain(plain), info, tuple(models))


def supervise(opened: Opened, leash: socket.socket | None, stop_signals: Sequence[int]) -> RunState:
    """Train, and leave behind a directory that says how it ended; return that state."""
    assert opened.launcher is not None
    assert opened.selector is not None
    journal, plan, settings, selector = opened.journal, opened.plan, opened.settings, opened.selector
    limit = plan.limit
    journal.put_info(replace(journal.info, threads=plan.threads, device=plan.job.device))
    journal.record(
        WorkerLimited(
            time=journal.clock(),
            requested=limit.requested,
            workers=limit.workers,
            policy=limit.policy,
            reason=limit.reason,
            limited_by=limit.limited_by,
            hint=limit.hint,
        )
    )
    for warning in limit.warnings:
        journal.warn("limit", warning)
    journal.decide("threads", plan.threads_reason)
    governor = Governor(
        limit.workers,
        measured=settings.resources.policy == "dedicated" or settings.resources.memory_per_worker_gb == "measured",
        estimate=plan.memory_estimate,
        available=_available_memory,
    )
    job = replace(plan.job, threads=plan.threads)
    scheduler = Scheduler(opened.directory, settings, job, journal, opened.launcher, governor, selector)
    _stop_on_signals(scheduler, selector, stop_signals)
    if leash is not None:
        _stop_when_released(scheduler, selector, leash)
    state = scheduler.run()
    opened.launcher.close()
    _refuse_the_rest(opened)
    opened.store.close()
    with contextlib.suppress(RunDirectoryError):  # the list is a convenience; the run itself is recorded
        registry.finished(opened.directory.path, state, journal.clock())
    return state


def _register(journal: Journal) -> None:
    try:
        registry.register(journal.info)
    except RunDirectoryError as error:
        journal.warn("registry", f"{error}; the run is not in the list of known runs, name it by its directory")


def _available_memory() -> int:
    """Memory that may still be used, in bytes: the machine's, or what control groups leave of it."""
    return int(detect(measure_usage=False).available_memory_gb * GIB)


def _stop_on_signals(scheduler: Scheduler, selector: selectors.BaseSelector, numbers: Sequence[int]) -> None:
    """Turn signals into readable bytes, so that nothing is done inside a handler."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)

    def take() -> None:
        for number in ours.recv(64):
            if number in numbers:
                scheduler.stop_by_signal(number)

    selector.register(ours, selectors.EVENT_READ, take)
    # The selector keeps `ours` and this callback alive; `theirs` must live as long.
    take.__dict__["peer"] = theirs


def _stop_when_released(scheduler: Scheduler, selector: selectors.BaseSelector, leash: socket.socket) -> None:
    def take() -> None:
        try:
            released = not leash.recv(64)
        except OSError:
            released = True
        if released:
            selector.unregister(leash)
            scheduler.stop("the process that started the run has ended or let go of it")

    selector.register(leash, selectors.EVENT_READ, take)


def _refuse_the_rest(opened: Opened) -> None:
    """Answer commands that came too late."""
    for command in commands.take(opened.directory):
        opened.journal.record(
            CommandAnswered(
                time=opened.journal.clock(),
                id=command.id,
                name=command.name,
                arguments=dict(command.arguments),
                sender=command.sender,
                outcome="refused",
                reason="the run has ended",
            )
        )
