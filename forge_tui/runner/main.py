"""The life of a runner: receive the request, acquire the directory, prepare, train, leave the directory readable."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

import psutil

from forge_tui.engines.base import Engine
from forge_tui.engines.local import LocalEngine
from forge_tui.engines.output import Outputs
from forge_tui.errors import ForgeError, RunDirectoryError
from forge_tui.protocol.job import STOP_SIGNALS
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.request import Farewell, Reply, Request
from forge_tui.protocol.wire import receive_message, send_message
from forge_tui.resources.priority import LOWER_PRIORITY, lower_session
from forge_tui.runner import prepare, run_planner
from forge_tui.runner.changes import compare_data
from forge_tui.runner.code_copy import Code
from forge_tui.runner.directory import (
    begin_start,
    list_start,
    log_to,
    open_location,
    settings_of,
    take_directory,
    undo_nothing_elsewhere,
)
from forge_tui.runner.finishing import run_on_finish
from forge_tui.runner.opened import Opened
from forge_tui.runner.opening import open_new
from forge_tui.runner.preflight import make_plan, preflight
from forge_tui.runner.queue_after import predecessor
from forge_tui.runner.resuming import open_earlier
from forge_tui.runner.supervise import supervise
from forge_tui.runs import run_models
from forge_tui.runs.elsewhere import refuse_if_trained_elsewhere
from forge_tui.runs.in_the_way import refuse_foreign_lock, refuse_what_is_in_the_way
from forge_tui.runs.layout import RunDirectory, default_run_path
from forge_tui.runs.lock import RunLock, is_locked
from forge_tui.safe_io.descriptors import open_closed
from forge_tui.safe_io.printing import named, say
from forge_tui.settings.replacement import what_trains
from forge_tui.settings.schema import Settings
from forge_tui.settings.search import require_sampler
from forge_tui.settings.site import require_held

_FLUSH_SECONDS = 5.0
# The last writes are fast unless the disk is stuck.
_LOG_SECONDS = 5.0


class _Interrupted(ForgeError):
    """The run was interrupted before it began."""


def main(channel_fd: int) -> int:
    """Serve the request from the channel; returns the exit status."""
    open_closed()
    channel = socket.socket(fileno=channel_fd)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    received = receive_message(channel)
    if received is None:
        return 1
    request = Request.from_record(received[0])
    # The logs are closed last: until then this process may print.
    with channel, contextlib.ExitStack() as last, contextlib.ExitStack() as stack:
        try:
            opened, outputs = _prepare(request, channel, stack, last)
        except ForgeError as error:
            message = f"{error}{_undone(stack)}"  # restore everything before the caller gets the answer
            name = type(error).__name__
            _answer(channel, Reply(status="refused", message=message, exit_status=error.exit_status, error=name))
            return error.exit_status
        except Exception:  # reported to the caller: this process has no log yet
            message = f"the runner failed before the run began:\n{traceback.format_exc()}"
            message += _undone(stack)
            _answer(channel, Reply(status="refused", message=message, exit_status=1))
            return 1
        if opened is None or outputs is None:
            return 0
        opened.store.flush(_FLUSH_SECONDS)  # viewers must see the run live at once, not its earlier end
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
    """Release and undo everything of a start; returns a problem as the rest of a message, or an empty text."""
    try:
        stack.close()
    except RunDirectoryError as error:
        return f"; {error}"
    return ""


def _prepare(
    request: Request, channel: socket.socket, stack: contextlib.ExitStack, last: contextlib.ExitStack
) -> tuple[Opened, Outputs] | tuple[None, None]:
    """Do everything up to the first step. After an error the directory is as it was before."""
    selector = stack.enter_context(selectors.DefaultSelector())
    selector.register(channel, selectors.EVENT_READ, lambda: _caller_left(channel))
    if request.action != "resume":
        require_held(settings_of(request))
    if request.action in ("check", "plan"):
        _answer(channel, (_check if request.action == "check" else _measure_ways)(request, selector, stack))
        return None, None

    directory, lock, undo, made_root = take_directory(request, stack)
    place = last.enter_context(contextlib.closing(open_location(directory)))
    refuse_if_trained_elsewhere(directory)
    if request.action == "resume":
        earlier, start = open_earlier(request, directory), None
        directory.check_writable()
        directory.create()
    else:
        earlier, start = None, begin_start(request, directory, made_root)
        undo.callback(start.undo)
    settings = earlier.settings if earlier is not None else settings_of(request)
    if earlier is not None and earlier.has_to_propose:
        require_sampler(settings)  # it may be on another machine than the start
    outputs = last.enter_context(contextlib.closing(Outputs(place.fileno(), settings.run.log_bytes)))
    log_to(outputs, directory, undo, is_new=earlier is None)
    if not directory.database.exists():
        list_start(directory, settings, undo)
    undo.callback(undo_nothing_elsewhere, place.identity, directory.path, undo)

    predecessor(settings.run.after if earlier is None else None, directory.path, Path(request.working_directory))
    nice = _nice(settings)
    engine = stack.enter_context(contextlib.closing(_engine(settings, selector, lock, nice, outputs, directory)))
    code = Code.of_new(settings, stack) if earlier is None else earlier.code(request, stack)
    changes = None
    with preflight(request, directory, settings, engine, selector, earlier, code) as known:
        if earlier is not None:
            changes = compare_data(directory.path, earlier.info, settings, known.data, accept=request.accept_changes)
        plan = make_plan(settings, known, earlier)
    selector.unregister(channel)
    if not place.is_here():
        raise RunDirectoryError(
            f"{named(directory.path)} was moved or deleted before the run began; nothing was started"
        )
    here = place.identity.device, place.identity.inode
    plan = replace(plan, job=replace(plan.job, place=here, profile=request.profile))
    if earlier is None or changes is None:
        assert start is not None
        opened = open_new(request, directory, settings, plan, known.data, code, start, outputs)
    else:
        opened = earlier.reopen(plan, code, changes)
    opened.attach(engine, selector)
    opened.place, opened.lock = place, lock
    undo.pop_all()
    return opened, outputs


def _check(request: Request, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> Reply:
    """Check everything that a start would, without measuring, and leave nothing behind."""
    settings = settings_of(request)
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
    with preflight(request, directory, settings, engine, selector, None, code) as known:
        warning = prepare.slowness(settings, known.job.device)
        table = known.found.get("table") or {}
        warnings = [*table.pop("warnings", []), *([] if warning is None else [warning])]
        found = {
            **{name: value for name, value in known.found.items() if name != "table"},
            **table,
            "warnings": warnings,
        }
        return Reply(status="checked", found=found, limit=asdict(known.limit))


def _measure_ways(request: Request, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> Reply:
    """Measure the ways to carry out the run, and touch nothing."""
    settings = settings_of(request)
    directory = RunDirectory(Path(request.directory or request.working_directory))
    # The age of this process needs the wall clock; from here on the monotonic clock measures.
    begun = time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())
    engine, code = _engine_without_a_run(settings, selector, stack, _nice(settings)), Code.of_new(settings, stack)
    with preflight(request, directory, settings, engine, selector, None, code) as known:
        startup = time.monotonic() - begun  # a run also begins with a worker that loads the data
        on = prepare.on_devices(settings, known.devices.uuids)
        alone = known.found["grouping_problem"] is not None
        ways = run_planner.candidates(settings, known.resources, known.others, alone=alone, on=on)
        found = run_planner.measure_ways(ways, known.ask, run_planner.SECONDS)
        if known.found["can_compile"] and settings.training.kernel != "native":
            found |= run_planner.measure_ways(
                run_planner.compiled_way(run_planner.estimate_ways(settings, found, startup)),
                known.ask,
                run_planner.SECONDS,
            )
        known.remembered(settings).keep(found)
        plan = run_planner.choose(run_planner.estimate_ways(settings, found, startup), time.monotonic() - begun)
        limit = run_planner.limit_in_words(settings, known.resources, known.others, on)
        plan = replace(
            plan,
            limit=limit,
            warning=prepare.slowness(settings, known.job.device) or "",
            device=known.device_reason(settings) or "",
        )
    return Reply(status="planned", plan=plan.to_record())


def _engine_without_a_run(
    settings: Settings, selector: selectors.BaseSelector, stack: contextlib.ExitStack, nice: int
) -> Engine:
    """An engine whose workers hold no lock, and whose output is discarded."""
    outputs = stack.enter_context(contextlib.closing(Outputs(None, 0)))
    return stack.enter_context(contextlib.closing(_engine(settings, selector, None, nice, outputs)))


def _engine(
    settings: Settings,
    selector: selectors.BaseSelector,
    lock: RunLock | None,
    nice: int,
    outputs: Outputs,
    directory: RunDirectory | None = None,
) -> Engine:
    """The engine of the settings; without a `directory` nothing is trained, and workers that inspect run here."""
    local = LocalEngine(selector, lock, nice, outputs, settings.run.seed, trains=what_trains(settings))
    if settings.engine.name == "local" or directory is None:
        return local
    from forge_tui.engines.ray.engine import RayEngine
    from forge_tui.settings.engine import require_engine

    require_engine(settings)  # a resume may be on another machine than the start
    return RayEngine(selector, local, outputs, settings, directory, nice=nice)


def _nice(settings: Settings) -> int:
    """The workers' `nice` value; also lowers this session's priority, without which it has no effect on other sessions.

    `doctor` reports if that is impossible.
    """
    nice = LOWER_PRIORITY if settings.resources.policy == "shared" else 0
    if nice:
        lower_session(nice)
    return nice


def _answer(channel: socket.socket, reply: Reply | Farewell) -> None:
    with contextlib.suppress(OSError):  # the caller is gone
        send_message(channel, reply.to_record())


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(f"signal {signal.Signals(number).name} before the run began; nothing was started")


def _caller_left(channel: socket.socket) -> None:
    if not channel.recv(1):
        raise _Interrupted("the caller went away before the run began; nothing was started")
