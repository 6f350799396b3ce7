"""Runs a run to its recorded end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from forge_tui.analysis.ranking import best_so_far
from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.metrics import with_custom_metric
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.resources.node_limit import NodeLimit
from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner import groups
from forge_tui.runner.cluster_governor import ClusterGovernor
from forge_tui.runner.code_watch import CodeWatch
from forge_tui.runner.device_pool import DevicePool
from forge_tui.runner.directory_watch import DirectoryWatch
from forge_tui.runner.energy_account import EnergyAccount
from forge_tui.runner.governor import Governor
from forge_tui.runner.journal import Journal
from forge_tui.runner.machine import Machine
from forge_tui.runner.opened import Opened
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.prepare import Plan, allowed_workers, cpus_of, device_costs, limit_on_nodes, on_devices
from forge_tui.runner.publisher import Publisher
from forge_tui.runner.queue_after import predecessor, waiting_for
from forge_tui.runner.scheduler import Scheduler
from forge_tui.runner.search.helper import TpeSampler
from forge_tui.runner.search.sampler import RandomSampler, Sampler
from forge_tui.runner.work import Devices, Means, Room, Watches, Work
from forge_tui.runs import registry, run_models
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.printing import say
from forge_tui.settings.schema import Settings, to_plain
from forge_tui.settings.search import TPE
from forge_tui.settings.space import dimensions

# How long to wait for a full disk at the end: a run without a recorded end looks dead.
_DISK_SECONDS = 60.0


def supervise(opened: Opened, leash: socket.socket | None, stop_signals: Sequence[int]) -> RunState:
    """Train, and record how the run ended; returns that state."""
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
        engine, cpus = opened.engine, cpus_of(settings, plan.threads)
        engine.expect(cpus, plan.memory_estimate)
        nodes = engine.nodes()
        other_runs = OtherLiveRuns(Claims(opened.directory), cpus, is_elsewhere=nodes is not None)
        stack.callback(other_runs.release)
        limit = other_runs.decide(
            lambda others: (
                allowed_workers(settings, plan.resources, others, plan.threads, plan.devices)
                if nodes is None
                else limit_on_nodes(settings, nodes)
            ),
            # A run that waits for another one claims nothing yet.
            lambda: 0 if _waits(opened) else min(plan.limit.workers, groups.group_count(settings)),
        )
        _tell_the_plan(journal, plan, limit, other_runs.problem)
        governor = _governor(settings, plan, limit, None if nodes is None else lambda: engine.nodes() or ())
        machine = Machine(plan.resources, settings.resources)
        stack.callback(machine.close)
        intensity = settings.resources.carbon_intensity
        energy = EnergyAccount(journal, machine.energy, intensity, elsewhere=nodes is not None)
        watch = CodeWatch(opened.code)
        stack.callback(watch.close)
        watch.start()
        publisher = Publisher(opened.place, selector)
        stack.callback(publisher.close)
        sampler = _sampler(settings, selector)
        if sampler is not None:
            stack.callback(sampler.close)
        scheduler = Scheduler(
            Work(
                directory=opened.directory,
                settings=settings,
                base_job=replace(plan.job, threads=plan.threads),
                journal=journal,
                code=opened.code,
                reached=opened.reached,
                epochs=opened.epochs,
            ),
            Means(engine=opened.engine, publisher=publisher, selector=selector, sampler=sampler),
            Room(
                governor=governor,
                machine=machine,
                other_runs=other_runs,
                devices=_devices(settings, plan),
                energy=energy,
            ),
            Watches(code=watch, directory=DirectoryWatch(opened.place, opened.lock, opened.directory, journal)),
        )
        opened.engine.on_problem = partial(journal.warn, "log")
        _stop_on_signals(scheduler, selector, stop_signals)
        if leash is not None:
            _stop_when_released(scheduler, selector, leash)
        state = _run(scheduler, opened)
    opened.engine.hang_up()  # no worker is left; this takes 20 ms, meanwhile the records are closed
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


def _governor(
    settings: Settings, plan: Plan, limit: WorkerLimit, nodes: Callable[[], Sequence[NodeLimit]] | None
) -> Governor:
    """The governor of this machine, or of the `nodes` of a cluster."""
    mode, cpus = settings.training.training_mode, cpus_of(settings, plan.threads)
    if nodes is not None:
        return ClusterGovernor(settings.resources, limit, mode=mode, cpus=cpus, nodes=nodes)
    on = on_devices(settings, plan.devices)
    return Governor(settings.resources, limit, mode=mode, cpus=cpus, estimate=plan.memory_estimate, on=on)


def _sampler(settings: Settings, selector: selectors.BaseSelector) -> Sampler | None:
    """What proposes the trials of a search; None without one."""
    if not run_models.is_search(settings):
        return None
    space, seed = dimensions(settings), settings.run.seed
    if settings.search.method == TPE:
        return TpeSampler(space, to_plain(settings)["search"]["space"], seed, selector)
    return RandomSampler(space, seed)


def _devices(settings: Settings, plan: Plan) -> Devices | None:
    """The run's GPUs, and what its workers will take of them; None if it has none."""
    if not plan.devices:
        return None
    rules = settings.resources
    pool = DevicePool(
        plan.devices,
        per_model=rules.devices_per_model,
        reserve=rules.memory_reserve,
        shared=rules.policy == "shared",
    )
    return Devices(pool=pool, costs=device_costs(plan.device_estimates))


def _list_as_ended(opened: Opened, state: RunState) -> None:
    """Record in the list of runs how this one has ended, and its place. Raises `RunDirectoryError`."""
    if opened.is_gone:
        return  # it leaves the list by itself; another run may be at its path
    if opened.path != opened.directory.path:
        if not os.path.lexists(opened.directory.path):
            registry.forget(opened.directory.path)
        registry.register(opened.journal.info)
    journal = opened.journal
    models, now = tuple(journal.models.values()), journal.clock()
    best = best_so_far(Snapshot(run=journal.info, models=models, state=state, revision=0, time=now))
    decided = None if best is None else (best.metric.title, best.value)
    registry.finished(opened.path, state, now, best=decided, seconds=journal.info.seconds)


def _run(scheduler: Scheduler, opened: Opened) -> RunState:
    """Run the scheduler; a defect of the runner itself becomes a recorded end that can be resumed."""
    assert opened.engine is not None
    journal = opened.journal
    other = _waits_for(opened)
    if other is not None:
        opened.engine.close()  # frees its memory while waiting; the first model starts it again
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
    """The run to wait for, as named; a resume does not wait again."""
    return opened.settings.run.after if not opened.is_resumed else None


def _waits_for(opened: Opened) -> RunDirectory | None:
    """The run to wait for, if there is one."""
    try:
        return predecessor(_waits(opened), opened.directory.path, Path(opened.journal.info.working_directory))
    except UsageError:  # it was there when this run was started, and is deleted now: it has ended
        return None


def _tell_the_plan(journal: Journal, plan: Plan, limit: WorkerLimit, problem: str | None) -> None:
    journal.limit(limit)
    for warning in limit.warnings:
        journal.warn("limit", warning)
    if problem is not None:
        journal.warn("other_runs", f"{problem}; this run cannot see your other runs, and they cannot see it")
    for kind, reason in plan.reasons:
        journal.decide(kind, reason)


def _stop_on_signals(scheduler: Scheduler, selector: selectors.BaseSelector, numbers: Sequence[int]) -> None:
    """Turn signals into readable bytes, so that no work is done inside a handler."""
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
            scheduler.stop("the process that started the run has ended or closed it")

    selector.register(leash, selectors.EVENT_READ, take)
