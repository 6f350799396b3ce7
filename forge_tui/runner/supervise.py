"""Open a run's records, new or from earlier, and carry the run through to its recorded end."""

from __future__ import annotations

import contextlib
import getpass
import os
import selectors
import signal
import socket
import stat
import time
import traceback
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import forge_tui
from forge_tui.engines.base import Engine
from forge_tui.engines.output import Outputs
from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.events import ModelRetried, RunStarted
from forge_tui.protocol.metrics import MetricTable, table_of, with_custom_metric
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.request import Request
from forge_tui.protocol.run_data import RunData
from forge_tui.protocol.snapshot import ModelState, RunInfo
from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner import groups
from forge_tui.runner.changes import Changes
from forge_tui.runner.code_copy import Code
from forge_tui.runner.code_watch import CodeWatch
from forge_tui.runner.directory_watch import DirectoryWatch
from forge_tui.runner.divergence import rolled_back
from forge_tui.runner.governor import Governor
from forge_tui.runner.halving import Reached, rungs_of
from forge_tui.runner.journal import Journal
from forge_tui.runner.machine import Machine
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.prepare import Plan, allowed_workers, slowness
from forge_tui.runner.publisher import Publisher
from forge_tui.runner.queue_after import predecessor, waiting_for
from forge_tui.runner.scheduler import Scheduler
from forge_tui.runner.work import Means, Room, Watches, Work
from forge_tui.runs import registry, run_models, trust
from forge_tui.runs.belongings import belonging_of
from forge_tui.runs.checkpoint_files import newest_attempt, saved_in
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location
from forge_tui.runs.lock import RunLock
from forge_tui.runs.moved import Given, found_again, relocated, require_data
from forge_tui.runs.names import CODE, ROOMS
from forge_tui.runs.reader import Heartbeat, RunReader
from forge_tui.runs.record import read_record
from forge_tui.runs.starting import Start
from forge_tui.runs.store import RunStore
from forge_tui.runs.survey import refuse_links_in, tidy
from forge_tui.safe_io.printing import named, say, shell_word
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.settings.files import read_settings, settings_digest, write_settings
from forge_tui.settings.schema import Settings, from_plain, to_plain

# At the end a full disk is waited for so long: a run whose end is not recorded looks as if it had died.
_DISK_SECONDS = 60.0
RUNNER_LOG = "logs/runner.log"
"""The runner's log, by its path in the run directory."""


@dataclass(slots=True)
class Opened:
    """A run whose records are open for writing, and all that is needed to carry it out."""

    directory: RunDirectory
    settings: Settings
    plan: Plan
    store: RunStore
    journal: Journal
    code: Code = field(default_factory=Code)
    engine: Engine | None = None
    selector: selectors.BaseSelector | None = None
    is_resumed: bool = False
    reached: tuple[Reached, ...] = ()
    place: Location | None = None
    lock: RunLock | None = None
    is_gone: bool = False
    """Whether the directory, or its database, was deleted or replaced."""

    def attach(self, engine: Engine, selector: selectors.BaseSelector) -> None:
        """Give it the engine and the selector it waits on."""
        self.engine, self.selector = engine, selector

    @property
    def path(self) -> Path:
        """Where the directory is by now."""
        return self.directory.path if self.place is None else self.place.path


def open_new(
    request: Request,
    directory: RunDirectory,
    settings: Settings,
    plan: Plan,
    data: RunData,
    code: Code,
    start: Start,
    outputs: Outputs,
) -> Opened:
    """Move an earlier run away if there is one, then write settings, code, database and registry entry of a new one."""
    start.move_earlier()
    write_settings(settings, directory.settings)
    training = settings.training
    info = RunInfo(
        run=directory.id,
        path=str(directory.path),
        mode=training.training_mode,
        policy=settings.resources.policy,
        model_type=run_models.type_words(settings),
        models=run_models.count(settings),
        epochs=training.epochs,
        created=time.time(),
        host=socket.gethostname(),
        runner=os.getpid(),
        user=getpass.getuser(),
        threads=plan.threads,
        fuse=plan.fuse,
        device=plan.job.device,
        working_directory=request.working_directory,
        version=forge_tui.__version__,
        settings_sha256=settings_digest(directory.settings),
        data=data.to_record(),
    )
    states = run_models.new_models(settings)
    start.announce(code.settle(directory))
    code.keep(directory)
    try:
        info, untrusted = _trusted(code.in_record(info), settings)
        store = RunStore.create(directory.database, info, states, start.directories())
        _take_over(store, directory, start, outputs)
    except BaseException as error:
        if not os.path.lexists(directory.database):
            _distrust(info)
        elif isinstance(error, RunDirectoryError):
            then = f"nothing is trained yet, `forge-tui resume {shell_word(str(directory.path))}` begins it"
            raise RunDirectoryError(f"{error}; {then}") from error
        raise
    journal = Journal(store, info, states)
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
    _report_code(journal, code, untrusted)
    if (slow := slowness(settings, plan.job.device)) is not None:
        journal.warn("precision", slow)
    _warn_of_others(journal)
    return Opened(directory, groups.settled(settings, plan.fuse), plan, store, journal, code)


def _take_over(store: RunStore, directory: RunDirectory, start: Start, outputs: Outputs) -> None:
    """The database is in its place: the start becomes a run. Raises `RunDirectoryError`."""
    try:
        # Not before: until there is a database, this log says that a start which was killed has left nothing to keep.
        outputs.move_own(RUNNER_LOG)
        start.commit()
    except OSError as error:
        store.close()
        if isinstance(error, RunDirectoryError):
            raise
        raise directory_error(error, "write", directory.path / RUNNER_LOG) from error


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that was there, read before anything of it is changed."""

    directory: RunDirectory
    settings: Settings
    info: RunInfo
    models: tuple[ModelState, ...]
    seconds: float
    """How long it has gone on until it ended or died."""
    reached: tuple[Reached, ...] = ()
    made: tuple[str, ...] = ()
    """The directories that are made anew."""
    recorded: RunInfo | None = None
    """Its record as it was found; `info` has the paths of a project that was moved (None: it was not)."""

    def code(self, request: Request, stack: contextlib.ExitStack) -> Code:
        """The code that it continues with; nothing of it was imported before.

        Raises `UntrustedCode`, and `ChangedError` where the run's copy of it is not what it was.
        """
        if not request.trust_code:
            allow = f"`forge-tui resume {self.directory.path} --trust-code`"
            trust.require(self.directory, self.recorded or self.info, trust.what_runs(self.settings), allow)
        accept = request.accept_changes
        return Code.of_earlier(self.directory, self.info, self.settings, stack, accept_changes=accept)

    def reopen(self, plan: Plan, code: Code, changes: Changes) -> Opened:
        """Open the records for writing, with `changes`, and queue every model that is not completed."""
        try:
            made = self.made
            if code.settle(self.directory) and not os.path.lexists(self.directory.code):
                made = (*made, CODE)
            code.keep(self.directory)
            info, untrusted = _trusted(code.in_record(self._ours()), self.settings)
            store = RunStore.open(self.directory.database, made)
        except BaseException:
            code.take_back(self.directory)
            raise
        # Live without a lock: it has died. That is a state to go on from, though none that is ever recorded.
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
                runner=os.getpid(),
                host=socket.gethostname(),
                data=changes.data.to_record(),
                changes_accepted=self.info.changes_accepted + bool(changes.accepted or code.changes_accepted),
            )
        )
        for model in self._unfinished():
            # The record may lack the newest attempts: their runner was killed before it had written them.
            newest = newest_attempt(self.directory.checkpoint_directory(model.name))
            attempt = max(model.attempt, newest) + (model.phase in (TrainingPhase.FAILED, TrainingPhase.CANCELLED))
            journal.models[model.index] = replace(
                model, attempt=attempt, epochs=epochs, epoch=model.checkpoint_epoch, worker=None, path=None
            )
            journal.phase(model.index, TrainingPhase.QUEUED, "resumed")
            if self._goes_back(model):
                self._roll_back(journal, model)
        for kind, words in (*changes.accepted, *changes.notices):
            journal.warn(kind, words)
        _register(journal)
        _report_code(journal, code, untrusted)
        return Opened(self.directory, self.settings, plan, store, journal, code, is_resumed=True, reached=self.reached)

    def _ours(self) -> RunInfo:
        """Its record from now on: a run that this user has started; somebody else knows the key of one that was not."""
        digest = self.info.settings_sha256 or settings_digest(self.directory.settings)
        is_ours = trust.doubt(self.directory, self.recorded or self.info) is None
        return replace(self.info, settings_sha256=digest, key=self.info.key if is_ours else "")

    def _goes_back(self, model: ModelState) -> bool:
        """Whether the model has failed by diverging: from its newest checkpoint, unchanged, it would diverge again."""
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
        """The models that a resume trains: none that is done, and cancelled ones only where nothing else is left."""
        epochs = self.settings.training.epochs
        unfinished = [model for model in self.models if not _is_done(model, epochs)]
        return [model for model in unfinished if model.phase is not TrainingPhase.CANCELLED] or unfinished


def _is_done(model: ModelState, epochs: int) -> bool:
    """Whether a run of so many epochs has no more to do for the model: more help none that stopped before its last."""
    return model.stopped_early or model.pruned or (model.phase is TrainingPhase.COMPLETED and model.epochs >= epochs)


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
        settings = from_plain(plain)
        seconds = _seconds_so_far(info, reader.heartbeat())
        states, _revision = reader.models(0)
        reached = _reached(reader, rungs_of(settings), states, table_of(settings.training))
    if info.settings_sha256 and settings_digest(directory.settings) != info.settings_sha256:
        raise RunDirectoryError(
            f"{named(directory.settings)} is not what the run was started with (it was edited, or is damaged): going "
            "on would give other models; put it back as it was, or start anew with --overwrite"
        )
    epochs = settings.training.epochs
    longest = max((model.epochs for model in states), default=0)
    if epochs < longest:
        raise UsageError(f"--epochs {epochs}: the run has {longest} epochs; give as many or more to train further")
    if all(_is_done(model, epochs) for model in states):
        further = f"--epochs N with more than {longest} trains it further"
        if all(model.stopped_early or model.pruned for model in states):
            further = "all of its models stopped early, and would with more epochs (training.patience, run.halving)"
        raise UsageError(f"run {directory.id} is completed: there is nothing to resume; {further}")
    require_data(settings, directory.path)
    made = tuple(room for room in ROOMS if not os.path.lexists(directory.path / room))
    chosen = groups.settled(settings, info.fuse)
    return Earlier(directory, chosen, info, tuple(states), seconds, reached, made, recorded)


def _seconds_so_far(info: RunInfo, heartbeat: Heartbeat) -> float:
    """How long a run went on until it ended or died: as it was measured, else by the wall clock."""
    measured = heartbeat.seconds if info.state.is_live else info.seconds
    return info.seconds_until(heartbeat.written) if measured is None else measured


def _reached(
    reader: RunReader, rungs: Collection[int], states: Iterable[ModelState], metrics: MetricTable
) -> tuple[Reached, ...]:
    """The rungs that models have come to so far, in that order."""
    found: list[tuple[int, Reached]] = []
    for model in states if rungs else ():
        for number, record in reader.numbered_epochs(model.index):
            if record.epoch in rungs:
                loss = metrics.measure(record.metrics)
                went_on = True if model.epoch > record.epoch else False if model.pruned else None
                found.append((number, Reached(model.index, record.epoch, loss, went_on)))
    return tuple(one for _, one in sorted(found, key=lambda pair: pair[0]))


def supervise(opened: Opened, leash: socket.socket | None, stop_signals: Sequence[int]) -> RunState:
    """Train, and leave behind a directory that says how it ended; return that state."""
    assert opened.engine is not None
    assert opened.selector is not None
    assert opened.place is not None
    assert opened.lock is not None
    journal, plan, settings, selector = opened.journal, opened.plan, opened.settings, opened.selector
    metrics = with_custom_metric(journal.info.metrics, settings)
    select_by = settings.training.select_by
    journal.put_info(
        replace(journal.info, threads=plan.threads, device=plan.job.device, metrics=metrics, select_by=select_by)
    )
    with contextlib.ExitStack() as stack:
        other_runs = OtherLiveRuns(Claims(opened.directory), plan.threads)
        stack.callback(other_runs.release)
        limit = other_runs.decide(
            lambda others: allowed_workers(settings, plan.resources, others, plan.threads),
            # One that waits for another run takes nothing yet.
            lambda: 0 if _waits(opened) else min(plan.limit.workers, groups.group_count(settings)),
        )
        _tell_the_plan(journal, plan, limit, other_runs.problem)
        governor = Governor(
            settings.resources,
            limit,
            mode=settings.training.training_mode,
            threads=plan.threads,
            estimate=plan.memory_estimate,
            on_gpu=plan.job.device.startswith("cuda"),
        )
        machine = Machine(plan.resources, settings.resources)
        stack.callback(machine.close)
        watch = CodeWatch(opened.code)
        stack.callback(watch.close)
        watch.start()
        publisher = Publisher(opened.place, selector)
        stack.callback(publisher.close)
        scheduler = Scheduler(
            Work(
                directory=opened.directory,
                settings=settings,
                base_job=replace(plan.job, threads=plan.threads),
                journal=journal,
                code=opened.code,
                reached=opened.reached,
            ),
            Means(engine=opened.engine, publisher=publisher, selector=selector),
            Room(governor=governor, machine=machine, other_runs=other_runs),
            Watches(code=watch, directory=DirectoryWatch(opened.place, opened.lock, opened.directory, journal)),
        )
        opened.engine.on_problem = partial(journal.warn, "log")
        _stop_on_signals(scheduler, selector, stop_signals)
        if leash is not None:
            _stop_when_released(scheduler, selector, leash)
        state = _run(scheduler, opened)
    opened.engine.hang_up()  # no worker is left; it takes 20 ms to end, meanwhile the records are closed
    scheduler.steering.refuse_the_rest()
    opened.is_gone = scheduler.is_gone
    if not opened.store.close(_DISK_SECONDS):
        say(f"the end of the run is not recorded: {opened.store.problem}")
    elif (problem := opened.store.problem) is not None:
        say(f"{problem}; the run and its end are recorded")
    try:
        _list_as_ended(opened, state)
    except RunDirectoryError as error:
        say(f"{error}; the run itself is recorded, its end is not in the list of runs")
    opened.engine.close()
    return state


def _list_as_ended(opened: Opened, state: RunState) -> None:
    """Tell the list of runs how this one has ended, and where it is. Raises `RunDirectoryError`."""
    if opened.is_gone:
        return  # it leaves the list by itself; at its path may be another one
    if opened.path != opened.directory.path:
        if not os.path.lexists(opened.directory.path):
            registry.forget(opened.directory.path)
        registry.register(opened.journal.info)
    registry.finished(opened.path, state, opened.journal.clock())


def _run(scheduler: Scheduler, opened: Opened) -> RunState:
    """Carry the run through; a defect of the runner itself becomes a recorded end that can be resumed."""
    assert opened.engine is not None
    journal = opened.journal
    after = _waits(opened)
    other = predecessor(after, opened.directory.path, Path(journal.info.working_directory))
    if other is not None:
        opened.engine.close()  # while it waits it takes no memory; the first model starts it again
    try:
        return scheduler.run(waiting_for(other))
    except Exception as error:  # the boundary of the runner
        traceback.print_exc()
        opened.engine.close()
        reason = f"the runner failed ({type(error).__name__}: {error}); logs/runner.log tells where"
        for model in list(journal.models.values()):
            if model.phase.is_active:
                journal.phase(model.index, TrainingPhase.QUEUED, reason)
        if journal.info.state is not RunState.STOPPING:
            journal.run_state(RunState.STOPPING, reason)
        scheduler.steering.finish(RunState.FAILED)
        journal.finish(RunState.FAILED, journal.seconds() - journal.info.seconds_before)
        return RunState.FAILED


def _waits(opened: Opened) -> str | None:
    """The run to wait for, as it was named; a resume does not wait again."""
    return opened.settings.run.after if not opened.is_resumed else None


def _tell_the_plan(journal: Journal, plan: Plan, limit: WorkerLimit, problem: str | None) -> None:
    journal.limit(limit)
    for warning in limit.warnings:
        journal.warn("limit", warning)
    if problem is not None:
        journal.warn("other_runs", f"{problem}; this run cannot see your other runs, and they cannot see it")
    for kind, reason in plan.reasons:
        journal.decide(kind, reason)


def _trusted(info: RunInfo, settings: Settings) -> tuple[RunInfo, str | None]:
    """The run's record with a key that this user's state directory holds, and why that cannot be, in words.

    A run without code needs none. Call it before the record is written.
    """
    if not trust.what_runs(settings):
        return info, None
    info = replace(info, key=info.key or trust.new_key())
    try:
        trust.record(info)
    except RunDirectoryError as error:
        return info, f"{error}: nothing shows that this run is yours, and to resume it will need --trust-code"
    return info, None


def _distrust(info: RunInfo) -> None:
    """The run did not begin."""
    with contextlib.suppress(RunDirectoryError):  # what is left behind says nothing of any other run
        trust.forget_key(info.key)


def _report_code(journal: Journal, code: Code, untrusted: str | None) -> None:
    for words in code.notices:
        journal.warn("code", words)
    if untrusted is not None:
        journal.warn("trust", untrusted)


def _register(journal: Journal) -> None:
    try:
        registry.register(journal.info)
    except RunDirectoryError as error:
        journal.warn("registry", f"{error}; the run is not in the list of known runs, name it by its directory")


def _warn_of_others(journal: Journal) -> None:
    """A directory that was there keeps its mode, and may let others in: that is told once, with what mends it."""
    path = journal.info.path
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if others := mode & 0o077:
        may = "write to" if others & 0o022 else "look into"
        journal.warn(
            "permissions",
            f"other users may {may} {path} (mode {mode:o}); what is made in it is private, and "
            f"`chmod 700 {shell_word(path)}` makes it so as well",
        )


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
