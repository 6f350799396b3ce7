"""The life of a runner: take the request, own the directory, prepare, train, leave the directory readable."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from setproctitle import setproctitle

from forge_tui.engines.base import Engine
from forge_tui.engines.local import LocalEngine
from forge_tui.engines.output import Outputs
from forge_tui.errors import ForgeError, ResourceError, RunDirectoryError
from forge_tui.protocol.job import STOP_SIGNALS, Job
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.request import Farewell, Reply, Request
from forge_tui.protocol.run_data import RunData, recorded_data
from forge_tui.protocol.snapshot import RunInfo
from forge_tui.protocol.wire import receive_message, send_message
from forge_tui.resources.hardware import SystemResources, detect
from forge_tui.resources.policy import GIB, OtherRuns, WorkerLimit, require_room_for_one
from forge_tui.resources.priority import LOWER_PRIORITY, lower_session
from forge_tui.runner import groups, prepare, run_planner
from forge_tui.runner.autotune import as_before, settle
from forge_tui.runner.changes import compare_data
from forge_tui.runner.code_copy import Code
from forge_tui.runner.finishing import run_on_finish
from forge_tui.runner.inspector import Inspector
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.queue_after import predecessor
from forge_tui.runner.remembered import Remembered
from forge_tui.runner.supervise import RUNNER_LOG, Earlier, Opened, open_earlier, open_new, supervise
from forge_tui.runs import registry, removal, run_models, starting
from forge_tui.runs.claims import Claims
from forge_tui.runs.elsewhere import refuse_if_trained_elsewhere
from forge_tui.runs.in_the_way import refuse_foreign_lock, refuse_what_is_in_the_way
from forge_tui.runs.layout import RunDirectory, default_run_path, model_name
from forge_tui.runs.location import Identity, Location
from forge_tui.runs.lock import RunLock, is_locked
from forge_tui.runs.moved import relocated_data
from forge_tui.runs.names import ROOT
from forge_tui.runs.starting import Start
from forge_tui.safe_io.descriptors import open_closed
from forge_tui.safe_io.printing import named, say
from forge_tui.safe_io.whole_files import directory_error as disk_in_words
from forge_tui.settings.files import settings_text
from forge_tui.settings.schema import Settings, from_plain, to_plain
from forge_tui.settings.sweep import combination_in_words, with_combination

_FLUSH_SECONDS = 5.0
_TRIES = 20
# With more of the CPUs in others' use, a measurement is good for this run only.
_QUIET_PERCENT = 15.0
# No larger group is measured.
_MOST_RATES = 1_024
# What is left to write at the end goes to memory in an instant, unless the disk is stuck.
_LOG_SECONDS = 5.0


class _Interrupted(ForgeError):
    """The run was called off before it began."""


def main(channel_fd: int) -> int:
    """Serve the one request that comes over the channel; return the exit status."""
    open_closed()
    channel = socket.socket(fileno=channel_fd)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    received = receive_message(channel)
    if received is None:
        return 1
    request = Request.from_record(received[0])
    # The logs are closed last: until then this process may have something to say.
    with channel, contextlib.ExitStack() as last, contextlib.ExitStack() as stack:
        try:
            opened, outputs = _prepare(request, channel, stack, last)
        except ForgeError as error:
            message = f"{error}{_undone(stack)}"  # first everything is as it was, then the caller hears of it
            name = type(error).__name__
            _answer(channel, Reply(status="refused", message=message, exit_status=error.exit_status, error=name))
            return error.exit_status
        except Exception:  # told to the caller: nobody reads this process's log yet
            message = f"the runner failed before the run began:\n{traceback.format_exc()}"
            message += _undone(stack)
            _answer(channel, Reply(status="refused", message=message, exit_status=1))
            return 1
        if opened is None or outputs is None:
            return 0
        opened.store.flush(_FLUSH_SECONDS)  # who looks at once sees the run live, not as it had ended before
        _answer(channel, Reply(status="started", directory=str(opened.directory.path)))
        state = supervise(opened, channel if request.leash else None, STOP_SIGNALS)
        outputs.settle(_LOG_SECONDS)
        outputs.release()
        stack.close()  # the directory is free: the user's command may resume, report or delete
        where = None if opened.is_gone else str(opened.path)
        _answer(channel, Farewell(state=state, reason=opened.journal.info.reason or "", directory=where))
        run = opened.settings.run
        problem = run_on_finish(
            run.on_finish, opened.path, state, Path(opened.journal.info.working_directory), run.log_bytes
        )
        if problem is not None:
            say(problem)
        return 0 if state is RunState.COMPLETED else 1


def _undone(stack: contextlib.ExitStack) -> str:
    """Give back all that a start had, and undo what it did; what could not be, to go on a message with."""
    try:
        stack.close()
    except RunDirectoryError as error:
        return f"; {error}"
    return ""


def _prepare(
    request: Request, channel: socket.socket, stack: contextlib.ExitStack, last: contextlib.ExitStack
) -> tuple[Opened, Outputs] | tuple[None, None]:
    """Everything up to the first step. If this ends by an error, the directory is as it was before."""
    selector = stack.enter_context(selectors.DefaultSelector())
    selector.register(channel, selectors.EVENT_READ, lambda: _caller_left(channel))
    if request.action in ("check", "plan"):
        _answer(channel, (_check if request.action == "check" else _measure_ways)(request, selector, stack))
        return None, None

    directory, lock, undo, made_root = take_directory(request, stack)
    place = last.enter_context(contextlib.closing(_open(directory)))
    refuse_if_trained_elsewhere(directory)
    if request.action == "resume":
        earlier, start = open_earlier(request, directory), None
        directory.check_writable()
        directory.create()
    else:
        earlier, start = None, _begin(request, directory, made_root)
        undo.callback(start.undo)
    settings = earlier.settings if earlier is not None else _settings(request)
    outputs = last.enter_context(contextlib.closing(Outputs(place.fileno(), settings.run.log_bytes)))
    _log_to(outputs, directory, undo, is_new=earlier is None)
    if not directory.database.exists():
        _list_start(directory, settings, undo)
    undo.callback(_undo_nothing_elsewhere, place.identity, directory.path, undo)

    predecessor(settings.run.after if earlier is None else None, directory.path, Path(request.working_directory))
    nice = _nice(settings)
    engine = stack.enter_context(contextlib.closing(LocalEngine(selector, lock, nice, outputs, settings.run.seed)))
    code = Code.of_new(settings, stack) if earlier is None else earlier.code(request, stack)
    changes = None
    with _look(request, directory, settings, engine, selector, earlier, code) as look:
        if earlier is not None:
            changes = compare_data(directory.path, earlier.info, settings, look.data, accept=request.accept_changes)
        plan = _plan(settings, look, earlier)
    selector.unregister(channel)
    if not place.is_here():
        raise RunDirectoryError(
            f"{named(directory.path)} was moved or deleted before the run began; nothing was started"
        )
    plan = replace(plan, job=replace(plan.job, place=(place.identity.device, place.identity.inode)))
    if earlier is None or changes is None:
        assert start is not None
        opened = open_new(request, directory, settings, plan, look.data, code, start, outputs)
    else:
        opened = earlier.reopen(plan, code, changes)
    opened.attach(engine, selector)
    opened.place, opened.lock = place, lock
    undo.pop_all()
    return opened, outputs


def _check(request: Request, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> Reply:
    """Try everything a start would but measuring, and leave nothing behind."""
    settings = _settings(request)
    base = Path(request.working_directory) / "runs"
    new = default_run_path(run_models.type_words(settings), time.time(), base)
    directory = RunDirectory(new if request.directory is None else Path(request.directory))
    if not os.path.lexists(directory.path):
        directory.check_makeable()
    else:
        directory.check_writable()
        refuse_foreign_lock(directory)
        if is_locked(directory.lock):
            raise RunDirectoryError(f"{named(directory.path)} is in use: a run is being trained there")
        refuse_what_is_in_the_way(directory, run_models.names(settings), request.previous)
    engine, code = _engine_without_a_run(settings, selector, stack, 0), Code.of_new(settings, stack)
    with _look(request, directory, settings, engine, selector, None, code) as look:
        warning = prepare.slowness(settings, look.job.device)
        found = {**look.found, "warnings": [] if warning is None else [warning]}
        return Reply(status="checked", found=found, limit=asdict(look.limit))


def _measure_ways(request: Request, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> Reply:
    """Measure the ways to carry out the run, and touch nothing."""
    settings = _settings(request)
    directory = RunDirectory(Path(request.directory or request.working_directory))
    # How old this process is can only be told from the wall clock; from here on the monotonic one measures.
    begun = time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())
    engine, code = _engine_without_a_run(settings, selector, stack, _nice(settings)), Code.of_new(settings, stack)
    with _look(request, directory, settings, engine, selector, None, code) as look:
        startup = time.monotonic() - begun  # a run begins with a worker that loads the data and answers, too
        alone = look.found["grouping_problem"] is not None
        ways = run_planner.candidates(settings, look.resources, look.others, alone=alone)
        found = run_planner.measure_ways(ways, look.ask, run_planner.SECONDS)
        if look.found["can_compile"]:
            found |= run_planner.measure_ways(
                run_planner.compiled_way(run_planner.estimate_ways(settings, found, startup)),
                look.ask,
                run_planner.SECONDS,
            )
        look.remembered(settings).keep(found)
        plan = run_planner.choose(run_planner.estimate_ways(settings, found, startup), time.monotonic() - begun)
        limit = run_planner.limit_in_words(settings, look.resources, look.others)
        plan = replace(plan, limit=limit, warning=prepare.slowness(settings, look.job.device) or "")
    return Reply(status="planned", plan=plan.to_record())


def _engine_without_a_run(
    settings: Settings, selector: selectors.BaseSelector, stack: contextlib.ExitStack, nice: int
) -> Engine:
    """Its workers hold no run's lock, and what they print is kept nowhere."""
    outputs = stack.enter_context(contextlib.closing(Outputs(None, 0)))
    return stack.enter_context(contextlib.closing(LocalEngine(selector, None, nice, outputs, settings.run.seed)))


def take_directory(
    request: Request, stack: contextlib.ExitStack
) -> tuple[RunDirectory, RunLock, contextlib.ExitStack, bool]:
    """The run directory, its lock, what removes all that is made from now on, and whether the directory was made.

    All are given back by `stack`; what a start or a removal that was killed has left is undone or finished. Raises
    `RunDirectoryError` where another one has the lock, and where something else is in its place.
    """
    outside = stack.enter_context(contextlib.ExitStack())
    directory, made_root = _make_directory(request, outside)
    setproctitle(f"forge-tui: runner {directory.id}")
    refuse_foreign_lock(directory)
    lock = _acquire(directory)
    outside.callback(_undo_nothing_elsewhere, Identity.of(directory.path), directory.path, outside)
    stack.callback(lock.release)
    # Undone before the lock is let go: without it what is here may be another one's, who has begun meanwhile. Only the
    # directory itself goes afterwards, if nobody has put anything there.
    undo = stack.enter_context(contextlib.ExitStack())
    if lock.is_new:
        undo.callback(lock.remove)
    if request.action != "resume":
        made_root |= removal.finish(directory)
    undone = starting.recover(directory)
    made_root |= undone is not None and ROOT in undone.directories
    return directory, lock, undo, made_root


def _make_directory(request: Request, undo: contextlib.ExitStack) -> tuple[RunDirectory, bool]:
    """The run directory, and whether it was made; `undo` removes it if it was and is empty then."""
    if request.directory is None:
        base = Path(request.working_directory) / "runs"
        directory, is_new = RunDirectory.create_new(run_models.type_words(_settings(request)), time.time(), base), True
    else:
        directory = RunDirectory(Path(request.directory))
        if request.action == "resume":
            directory.check_holds_run()
        is_new = directory.make()
    if is_new:
        undo.callback(_remove_if_empty, directory.path)
    return directory, is_new


def _begin(request: Request, directory: RunDirectory, made_root: bool) -> Start:
    """Announce the start of a new run. Raises `RunDirectoryError` where something is in its way."""
    settings = _settings(request)
    text = settings_text(settings).encode()
    return Start.begin(directory, run_models.names(settings), text, request.previous, made_root=made_root)


def _acquire(directory: RunDirectory) -> RunLock:
    """The lock; a start that failed may have removed the directory that both of them found empty."""
    for _ in range(_TRIES):
        try:
            return RunLock.acquire(directory.lock)
        except RunDirectoryError as error:
            if error.errno != errno.ENOENT:
                raise
            directory.make()
    return RunLock.acquire(directory.lock)


def _settings(request: Request) -> Settings:
    assert request.settings is not None
    return from_plain(request.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is known before the first step: the machine, the rules' limit, what a worker found out; and who measures.

    Of a sweep `found` and `combination` are of the model that needs most memory; `rates` are those of its group.
    """

    resources: SystemResources
    others: OtherRuns
    limit: WorkerLimit
    job: Job
    found: dict[str, Any]
    inspector: Inspector
    combination: dict[str, Any]
    rates: list[tuple[float, float]]
    data: RunData
    code: Code

    def ask(self, ways: Sequence[run_planner.Asked], workers: int, seconds: float) -> list[dict[str, Any]]:
        """What so many workers measure at once in the memory that is available."""
        room = self.resources.available_memory_gb * GIB
        return self.inspector.measure(ways, workers, seconds, room, self.combination, self.rates)

    def remembered(self, settings: Settings) -> Remembered:
        """What was measured of this configuration before; of a sweep, of its largest one."""
        busy = (self.resources.others_cpu_percent or 0.0) > _QUIET_PERCENT or self.others.workers > 0
        measured = from_plain(with_combination(to_plain(settings), self.combination))
        return Remembered(
            measured,
            self.found,
            self.resources,
            self.job.device,
            rates=self.rates,
            quiet=not busy,
            code=self.code.digest,
        )

    @property
    def workers(self) -> int:
        """How many may measure at once: as many as will train, or as there is room for."""
        room = self.resources.available_memory_gb * GIB // int(self.found["worker_bytes"])
        return max(1, min(self.limit.workers, int(room)))


@contextlib.contextmanager
def _look(
    request: Request,
    directory: RunDirectory,
    settings: Settings,
    engine: Engine,
    selector: selectors.BaseSelector,
    earlier: Earlier | None,
    code: Code,
) -> Iterator[_Look]:
    """Look at the machine, the data and the model, and try custom code, unless a resume continues with what was tried.

    Raises what a start is refused with.
    """
    engine.start()  # imports torch while the resources are looked at
    resources = detect(settings=settings.resources)
    others = OtherLiveRuns(Claims(directory), 1).taken()
    limit = prepare.allowed_workers(settings, resources, others)
    if earlier is None:
        threads, device = run_planner.thread_counts(settings, limit)[0], prepare.choose_device(settings, resources)
        job = _job(request.working_directory, directory, settings, threads, device)
    else:
        info = earlier.info
        job = _job(info.working_directory, directory, settings, info.threads, info.device)
        recorded = recorded_data(info)
        known = None if recorded is None else relocated_data(recorded, info.moved)
        job = replace(job, data=None if known is None else known.to_record())
    with Inspector(engine, selector, job, code) as inspector:
        combinations = run_models.inspected(settings)
        together = min(groups.width(settings), run_models.of_a_kind(settings))
        is_tried = earlier is not None and not code.changes_accepted
        room = None if is_tried else resources.available_memory_gb * GIB
        inspections = inspector.inspect(combinations, together, room)
        assert inspector.data is not None
        found, combination = max(
            zip(inspections, combinations, strict=True), key=lambda pair: int(pair[0]["estimated_bytes"])
        )
        try:
            require_room_for_one(int(found["estimated_bytes"]), resources)
        except ResourceError as error:
            raise ResourceError(
                f"with {combination_in_words(combination)}: {error}" if combination else str(error)
            ) from error
        parameters = [int(one["parameters"]) for one in inspections]
        yield _Look(
            resources=resources,
            others=others,
            limit=limit,
            job=job,
            found={
                **found,
                "parameters_least": min(parameters),
                "parameters_most": max(parameters),
                "grouping_problem": next(filter(None, (one["grouping_problem"] for one in inspections)), None),
            },
            inspector=inspector,
            combination=combination,
            rates=run_models.rates(settings, _MOST_RATES),
            data=inspector.data,
            code=code,
        )


def _plan(settings: Settings, look: _Look, earlier: Earlier | None) -> prepare.Plan:
    if earlier is None:
        problem = look.found["grouping_problem"]
        chosen = settle(settings, look.limit, look.workers, look.ask, look.remembered(settings), problem)
    else:
        chosen = as_before(settings, earlier.info.threads)
    return prepare.Plan(
        limit=look.limit,
        resources=look.resources,
        threads=chosen.threads,
        fuse=chosen.fuse,
        reasons=chosen.reasons,
        job=look.job,
        memory_estimate=max(chosen.worker_bytes or 0, int(look.found["worker_bytes"])),
    )


def _job(working_directory: str, directory: RunDirectory, settings: Settings, threads: int, device: str) -> Job:
    """The first model's, with the run's own settings."""
    return Job(
        run=directory.id,
        directory=str(directory.path),
        working_directory=working_directory,
        model=model_name(settings.training.model_type, 1),
        index=1,
        attempt=1,
        seed=settings.run.seed,
        settings=to_plain(settings),
        threads=threads,
        device=device,
    )


def _nice(settings: Settings) -> int:
    """How much workers give way to others' work; this session too, or it would do nothing against other sessions.

    `doctor` tells where it cannot be.
    """
    nice = LOWER_PRIORITY if settings.resources.policy == "shared" else 0
    if nice:
        lower_session(nice)
    return nice


def _answer(channel: socket.socket, reply: Reply | Farewell) -> None:
    with contextlib.suppress(OSError):  # a caller that has gone needs no answer
        send_message(channel, reply.to_record())


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(f"signal {signal.Signals(number).name} before the run began; nothing was started")


def _caller_left(channel: socket.socket) -> None:
    if not channel.recv(1):
        raise _Interrupted("the caller went away before the run began; nothing was started")


def _open(directory: RunDirectory) -> Location:
    try:
        return Location(directory.path)
    except OSError as error:
        raise disk_in_words(error, "open", directory.path) from error


def _log_to(outputs: Outputs, directory: RunDirectory, undo: contextlib.ExitStack, *, is_new: bool) -> None:
    """Send this process's output, and that of the fork server to come, to a file of the run."""
    log = directory.starting_log if is_new else directory.path / RUNNER_LOG
    try:
        if is_new:
            undo.callback(outputs.release)  # or what is printed next would make anew what the start's undoing removes
        outputs.take_own(directory.starting_log.name if is_new else RUNNER_LOG)
    except OSError as error:
        raise disk_in_words(error, "write", log) from error


def _list_start(directory: RunDirectory, settings: Settings, undo: contextlib.ExitStack) -> None:
    """Put the start into the list of runs, so that it is found there if it is killed."""
    info = RunInfo(
        run=directory.id,
        path=str(directory.path),
        mode=settings.training.training_mode,
        policy=settings.resources.policy,
        model_type=run_models.type_words(settings),
        models=run_models.count(settings),
        epochs=settings.training.epochs,
        created=time.time(),
        host=socket.gethostname(),
    )
    with contextlib.suppress(RunDirectoryError):  # it is tried again, and reported, when the run has begun
        registry.register(info)
        undo.callback(_forget, directory)


def _forget(directory: RunDirectory) -> None:
    with contextlib.suppress(RunDirectoryError):  # without its directory it leaves the list by itself
        registry.forget(directory.path)


def _undo_nothing_elsewhere(directory: Identity, path: Path, undo: contextlib.ExitStack) -> None:
    """What lies at the old path of a directory that was moved or deleted meanwhile is another one's."""
    if not directory.is_at(path):
        undo.pop_all()


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # somebody put a file of their own there meanwhile
        path.rmdir()
