"""Reads an earlier run, and opens its records for writing."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.events import ModelRetried
from forge_tui.protocol.job import rung_passed
from forge_tui.protocol.metrics import MetricTable, table_of
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.request import Request
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner import groups
from forge_tui.runner.changes import Changes
from forge_tui.runner.code_copy import Code
from forge_tui.runner.divergence import rolled_back
from forge_tui.runner.halving import Reached, rungs_of
from forge_tui.runner.journal import Journal
from forge_tui.runner.opened import Opened, register, report_code, trusted
from forge_tui.runner.prepare import Plan
from forge_tui.runner.search.trials import BestEpochs
from forge_tui.runs import run_models, trust
from forge_tui.runs.belongings import belonging_of
from forge_tui.runs.checkpoint_files import newest_attempt, saved_in
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.moved import Given, found_again, relocated, require_data
from forge_tui.runs.names import CODE, ROOMS
from forge_tui.runs.reader import Heartbeat, RunReader
from forge_tui.runs.record import read_record
from forge_tui.runs.store import RunStore
from forge_tui.runs.survey import refuse_links_in, tidy
from forge_tui.safe_io.printing import named
from forge_tui.settings.files import read_settings, settings_digest
from forge_tui.settings.schema import EngineSettings, Settings, from_plain, to_plain
from forge_tui.settings.site import hold_earlier


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run, read before anything is changed."""

    directory: RunDirectory
    settings: Settings
    info: RunInfo
    models: tuple[ModelState, ...]
    seconds: float
    """Its age when it ended or died."""
    reached: tuple[Reached, ...] = ()
    epochs: Mapping[int, BestEpochs] = field(default_factory=dict)
    """The epochs of a search's models that are not done."""
    made: tuple[str, ...] = ()
    """The directories that are created again."""
    recorded: RunInfo | None = None
    """Its record as found; `info` has the new paths of a moved project (None: not moved)."""
    followed: tuple[str, ...] = ()
    """What the site-wide settings have changed in its settings, in words."""

    @property
    def has_to_propose(self) -> bool:
        """Whether there are trials of a search that have no values yet."""
        return run_models.is_search(self.settings) and not all(model.combination for model in self.models)

    def code(self, request: Request, stack: contextlib.ExitStack) -> Code:
        """The code that it continues with; none of it was imported before.

        Raises `UntrustedCode`, and `ChangedError` if the run's copy was changed.
        """
        if not request.trust_code:
            allow = f"`forge-tui resume {self.directory.path} --trust-code`"
            # A cluster that the resume names is no part of the run's own settings.
            settings = self.settings if request.engine is None else replace(self.settings, engine=EngineSettings())
            trust.require(self.directory, self.recorded or self.info, trust.what_runs(settings), allow)
        accept = request.accept_changes
        return Code.of_earlier(self.directory, self.info, self.settings, stack, accept_changes=accept)

    def reopen(self, plan: Plan, code: Code, changes: Changes) -> Opened:
        """Open the records for writing, with `changes`, and queue every incomplete model."""
        try:
            made = self.made
            if code.settle(self.directory) and not os.path.lexists(self.directory.code):
                made = (*made, CODE)
            code.keep(self.directory)
            info, untrusted = trusted(code.in_record(self._ours()), self.settings)
            store = RunStore.open(self.directory.database, made)
        except BaseException:
            code.take_back(self.directory)
            raise
        # Live without a lock: it has died. A resume may follow that state, which is never recorded.
        was = RunState.DIED if self.info.state.is_live else self.info.state
        earlier = replace(info, state=was, seconds_before=self.seconds, resumed=time.time())
        journal = Journal(store, earlier, self.models)
        journal.run_state(RunState.QUEUED, f"resumed, was {was}")
        epochs = self.settings.training.epochs
        journal.put_info(
            replace(
                journal.info,
                path=str(self.directory.path),  # it may have been moved since
                epochs=epochs,
                policy=self.settings.resources.policy,
                runner=os.getpid(),
                host=socket.gethostname(),
                data=None if changes.data is None else changes.data.to_record(),
                changes_accepted=self.info.changes_accepted + bool(changes.accepted or code.changes_accepted),
            )
        )
        for model in self._unfinished():
            # The record may lack the newest attempts, if their runner was killed before it wrote them.
            newest = newest_attempt(self.directory.checkpoint_directory(model.name))
            is_new = model.phase in (TrainingPhase.FAILED, TrainingPhase.CANCELLED)
            if self.settings.run.command and model.started is not None:
                is_new = True  # it has no checkpoint that we know of
            if run_models.is_search(self.settings) and not model.combination:
                is_new = newest > 0  # what it has begun was proposed and not recorded: it is proposed again
            attempt = max(model.attempt, newest) + is_new
            journal.models[model.index] = replace(
                model, attempt=attempt, epochs=epochs, epoch=model.checkpoint_epoch, worker=None, path=None
            )
            journal.phase(model.index, TrainingPhase.QUEUED, "resumed")
            if self._goes_back(model):
                self._roll_back(journal, model)
        for kind, words in (*changes.accepted, *changes.notices, *(("site", words) for words in self.followed)):
            journal.warn(kind, words)
        register(journal)
        report_code(journal, code, untrusted)
        return Opened(
            self.directory,
            self.settings,
            plan,
            store,
            journal,
            code,
            is_resumed=True,
            reached=self.reached,
            epochs=self.epochs,
        )

    def _ours(self) -> RunInfo:
        """Its record from now on, as a run of this user: a new key if others may know the old one."""
        digest = self.info.settings_sha256 or settings_digest(self.directory.settings)
        is_ours = trust.doubt(self.directory, self.recorded or self.info) is None
        return replace(self.info, settings_sha256=digest, key=self.info.key if is_ours else "")

    def _goes_back(self, model: ModelState) -> bool:
        """Whether the model failed by diverging: unchanged, from its newest checkpoint, it would diverge again."""
        has_diverged = model.phase is TrainingPhase.FAILED and model.failures[-1].kind == "diverged"
        return has_diverged and self.settings.training.on_divergence == "lower"

    def _roll_back(self, journal: Journal, model: ModelState) -> None:
        now = journal.models[model.index]
        retried = ModelRetried(
            time=journal.clock(),
            model=now.name,
            index=now.index,
            attempt=now.attempt,
            from_epoch=now.checkpoint_epoch,
            reason=f"resumed after: {model.failures[-1].message}",
            learning_rate_factor=now.learning_rate_factor,
        )
        saved = saved_in(self.directory.checkpoint_directory(model.name))
        journal.record(rolled_back(retried, model, saved, self.settings.training.divergence_factor))

    def _unfinished(self) -> list[ModelState]:
        """The models that a resume trains: not those done, and cancelled ones only if nothing else is left."""
        epochs = self.settings.training.epochs
        unfinished = [model for model in self.models if not _is_done(model, epochs)]
        return [model for model in unfinished if model.phase is not TrainingPhase.CANCELLED] or unfinished


def _is_done(model: ModelState, epochs: int | None) -> bool:
    """Whether the model is done in a run of `epochs`; more epochs do not continue one that stopped early."""
    if model.phase is TrainingPhase.COMPLETED:
        return model.stopped_early or model.epochs is None or epochs is None or model.epochs >= epochs
    return model.pruned


def open_earlier(request: Request, directory: RunDirectory) -> Earlier:
    """Read the run that is to be resumed. Raises `RunDirectoryError` or `UsageError` if there is nothing to resume."""
    if not os.path.lexists(directory.database):
        raise RunDirectoryError(f"{named(directory.path)}: there is no run here; `forge-tui runs` lists the known ones")
    record = read_record(directory.database)
    place = belonging_of(directory.path, record)
    refuse_links_in(directory.path, place)
    tidy(directory.path, place)
    written = read_settings(directory.settings)
    with contextlib.closing(RunReader(directory.database)) as reader:
        recorded = reader.info()
        given = Given(dataset=request.dataset, python_path=request.python_path, accept_changes=request.accept_changes)
        info = found_again(recorded, written, directory.path, Path(request.working_directory), given)
        plain = to_plain(relocated(written, info.moved))
        plain["training"]["epochs"] = request.epochs if request.epochs is not None else info.epochs
        if request.engine is not None:
            plain["engine"] = {**request.engine, "fuse": plain["engine"]["fuse"]}
        settings, followed = hold_earlier(from_plain(plain))
        seconds = seconds_so_far(info, reader.heartbeat())
        states, _revision = reader.models(0)
        metrics = table_of(settings.training, info.metrics)
        reached = reached_rungs(reader, rungs_of(settings), states, metrics)
        searched = epochs_of_search(reader, settings, states, metrics)
    if info.settings_sha256 and settings_digest(directory.settings) != info.settings_sha256:
        raise RunDirectoryError(
            f"{named(directory.settings)} is not what the run was started with (it was edited, or is damaged), and "
            "would give other models; restore it, or start again with --overwrite"
        )
    epochs = settings.training.epochs
    longest = max((model.epochs or 0 for model in states), default=0)
    if epochs is not None and epochs < longest:
        raise UsageError(f"--epochs {epochs}: the run has {longest} epochs; give as many or more to train further")
    if all(_is_done(model, epochs) for model in states):
        further = f"--epochs N with more than {longest} trains it further"
        if not longest:
            further = "its command has no number of epochs to raise"
        if all(model.stopped_early or model.pruned for model in states):
            further = "all its models stopped early, and would with more epochs (training.patience, run.halving)"
        raise UsageError(f"run {directory.id} is completed: there is nothing to resume; {further}")
    require_data(settings, directory.path)
    made = tuple(room for room in ROOMS if not os.path.lexists(directory.path / room))
    chosen = groups.settled(settings, info.fuse)
    return Earlier(directory, chosen, info, tuple(states), seconds, reached, searched, made, recorded, followed)


def seconds_so_far(info: RunInfo, heartbeat: Heartbeat) -> float:
    """The age of a run when it ended or died: as measured, else by the wall clock."""
    measured = heartbeat.seconds if info.state.is_live else info.seconds
    return info.seconds_until(heartbeat.written) if measured is None else measured


def epochs_of_search(
    reader: RunReader, settings: Settings, states: Iterable[ModelState], metrics: MetricTable
) -> dict[int, BestEpochs]:
    """The epochs so far of a search's models, by index; not of those whose result is recorded and stays."""
    if not run_models.is_search(settings):
        return {}
    alone = reader.info().has_custom_loop
    return {
        model.index: BestEpochs(
            ((record.epoch, metrics.measure(record.metrics)) for record in reader.epochs(model.index)),
            replaces_alone=alone,
        )
        for model in states
        # A pruned one may be retried.
        if model.epoch and (model.value is None or model.pruned or not _is_done(model, settings.training.epochs))
    }


def reached_rungs(
    reader: RunReader, rungs: Collection[int], states: Iterable[ModelState], metrics: MetricTable
) -> tuple[Reached, ...]:
    """The rungs that models have reached so far, in order."""
    found: list[tuple[int, Reached]] = []
    for model in states if rungs else ():
        judged = 0
        for number, record in reader.numbered_epochs(model.index):
            rung = rung_passed(rungs, judged, record.epoch)
            if rung is not None:
                judged = record.epoch
                loss = metrics.measure(record.metrics)
                continued = True if model.epoch > record.epoch else False if model.pruned else None
                found.append((number, Reached(model.index, rung, loss, continued)))
    return tuple(one for _, one in sorted(found, key=lambda pair: pair[0]))
