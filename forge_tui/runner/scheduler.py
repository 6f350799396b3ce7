"""Which model runs when: the queue, the worker slots, and what becomes of every attempt.

Event-driven: one thread waits on the engine, signals and the caller's channel, and looks every 100 ms for commands,
hanging workers and what the machine says; less often while the run waits for another one.
Nothing in it waits for a disk.
"""

from __future__ import annotations

import re
import selectors
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from forge_tui.engines.base import Engine, WorkerHandle
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol import events as happened
from forge_tui.protocol.job import Job
from forge_tui.protocol.metrics import table_of
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.rollback import Saved
from forge_tui.protocol.run_data import recorded_data
from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner import groups
from forge_tui.runner.alerts import DiskWatch, HistoryWatch, SpeedWatch
from forge_tui.runner.attempt import Attempt, unexplained
from forge_tui.runner.code_copy import Code, keep_trusted
from forge_tui.runner.code_watch import CodeWatch
from forge_tui.runner.consequences import Consequence, consequence
from forge_tui.runner.directory_watch import DirectoryWatch
from forge_tui.runner.divergence import goes_further, rolled_back
from forge_tui.runner.governor import Governor, Load
from forge_tui.runner.groups import Group
from forge_tui.runner.halving import Halving, Reached, rungs_of
from forge_tui.runner.journal import Journal
from forge_tui.runner.machine import Machine
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.publisher import Publisher
from forge_tui.runner.steering import Steering
from forge_tui.runner.watchdog import HangVerdict
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location
from forge_tui.runs.lock import RunLock
from forge_tui.runs.results import Result
from forge_tui.runs.run_models import Configs
from forge_tui.settings.schema import Settings

TICK_SECONDS = 0.1
# A run that waits for another one looks less and less often whether that has ended, and for commands.
LONGEST_TICK_SECONDS = 1.0
_PART_OF_WAIT = 0.05
# A cancelled model has this long for its checkpoint; nobody waits for it, so a worker that hangs is ended soon.
_CANCEL_SECONDS = 10.0
_FIGURE = re.compile(r"[\d.]+")


class Scheduler:
    """Runs the models of one run to their end."""

    def __init__(
        self,
        directory: RunDirectory,
        settings: Settings,
        base_job: Job,
        journal: Journal,
        engine: Engine,
        governor: Governor,
        machine: Machine,
        neighbours: OtherLiveRuns,
        selector: selectors.BaseSelector,
        publisher: Publisher,
        monotonic: Callable[[], float] = time.monotonic,
        reached: Iterable[Reached] = (),
        code: Code | None = None,
        watch: CodeWatch | None = None,
        place: Location | None = None,
        lock: RunLock | None = None,
    ) -> None:
        """`reached`: the rungs that models came to before a resume, in that order. `code`: custom code, where the run
        has some, and who watches its originals.

        `place` and `lock` are those of the directory; None: nobody looks whether it stays where it is.
        """
        self._directory = directory
        self._settings = settings
        self._base_job = base_job
        self._journal = journal
        self._engine = engine
        self._governor = governor
        self._machine = machine
        self._neighbours = neighbours
        self._selector = selector
        self._publisher = publisher
        self._monotonic = monotonic
        self._code, self._code_watch = code or Code(), watch
        self.steering = Steering(directory, journal, self)
        self._halving = Halving(settings.run.halving or 1, reached, rungs_of(settings))
        self._directory_watch = (
            None if place is None or lock is None else DirectoryWatch(place, lock, directory, journal)
        )
        self._is_gone = False
        self._speed = SpeedWatch()
        self._history = HistoryWatch()
        self._disk = DiskWatch(directory.path)
        self._running: dict[int, Attempt] = {}
        """By the worker's own number, the newest last."""
        self._rungs = rungs_of(settings)
        self._metrics = table_of(settings.training)
        self._configs = Configs(settings, base_job.settings)
        self._data = recorded_data(journal.info)
        self._queue: deque[Group] = deque(
            groups.queued(journal.models.values(), groups.width(settings), self._configs.likeness)
        )
        self._failures: Counter[int] = Counter()
        self._divergences: Counter[int] = Counter()
        """Of each model since it was last beyond one."""
        self._saved: dict[int, list[Saved]] = {}
        """The checkpoints that models had when they diverged."""
        self._inherited: dict[int, int] = {}
        """The step up to which the checkpoints of each model's attempts so far count for the next one."""
        self._ending: RunState | None = None
        self._waiting = False
        self._pausing = False
        self._pause_reason = ""
        self._held: set[str] = set()
        self._judged = 0

    def run(self, waits: Callable[[], str | None]) -> RunState:
        """Train until nothing is left to do or the run is ended; return its final state.

        `waits` says in words what is waited for before the first model starts, None when nothing is.
        """
        self._wait_for_turn(waits)
        started = self._monotonic()
        limit = self._settings.run.max_seconds
        if self._ending is None:
            self._journal.run_state(RunState.RUNNING)
        while True:
            self._fill_slots()
            if not self._running and (self._ending or not self._queue):
                break
            self._tick()
            if limit is not None and self._monotonic() - started >= limit:
                self.stop(f"time limit of {limit:g} s ([run] max_seconds, --max-time)")
        status = self._final_state()
        self.steering.finish(status)
        self._journal.finish(status, self._monotonic() - started)
        return status

    def _wait_for_turn(self, waits: Callable[[], str | None]) -> None:
        told, begun = None, self._monotonic()
        while self._ending is None and (reason := waits()) is not None:
            if reason != told:
                told = reason
                self._waiting = True
                self._journal.run_state(RunState.QUEUED, reason)
            waited = self._monotonic() - begun
            self._tick(min(LONGEST_TICK_SECONDS, max(TICK_SECONDS, _PART_OF_WAIT * waited)))
        self._waiting = False
        if told is not None and self._ending is None:
            self._machine.look_anew()
        self._machine.watch()
        if told is None:
            self._neighbours.decide(lambda _: None, self._wanted)
        elif self._ending is None:
            # What there was before was shared with the run that has ended.
            self._journal.limit(self._request(self._governor.requested))

    def _tick(self, seconds: float = TICK_SECONDS) -> None:
        for key, _ in self._selector.select(seconds):
            key.data()
        self._engine.tick()
        self._history.look(self._journal.store_problem)
        self._look_for_directory()
        self.steering.take()
        for words in self._code_watch.news() if self._code_watch is not None else ():
            self._journal.warn("code", words)
        self._settle_pause()
        self._watch_workers()
        self._judge()

    def _look_for_directory(self) -> None:
        """End the run when its directory is not where it was: nothing may be made at the old path, or in another one.

        Where it was moved, the workers save their last steps there.
        """
        lost = None if self._directory_watch is None or self._is_gone else self._directory_watch.look()
        if lost is None:
            return
        if lost.path is None:
            self._is_gone = True
            self.steering.move(None)
            self.kill(lost.reason)
            return
        if lost.path != self._directory.path:
            self._directory = RunDirectory(lost.path)
            self.steering.move(self._directory)
            self._journal.move(self._directory)
            for attempt in self._running.values():
                attempt.worker.send({"command": "move", "directory": str(lost.path)})
        self.stop(lost.reason)

    @property
    def is_gone(self) -> bool:
        """Whether the run directory or its records are gone: nothing can be written there."""
        return self._is_gone

    # --- what viewers and signals ask for

    def stop(self, reason: str) -> None:
        """End the run after a checkpoint of every model in training. A second request changes nothing."""
        if self._ending is None:
            self._ending = RunState.STOPPED
            self._journal.run_state(RunState.STOPPING, reason)
            for attempt in self._running.values():
                self._tell_to_stop(attempt)

    def kill(self, reason: str) -> None:
        """End the run at once; what was trained since the newest checkpoints is lost."""
        if self._ending is not RunState.KILLED:
            self._ending = RunState.KILLED
            self._journal.run_state(RunState.STOPPING, reason)
            for attempt in self._running.values():
                attempt.leaving = "killed"
                attempt.worker.kill()

    def stop_by_signal(self, number: int) -> None:
        """Treat a signal as a request to stop."""
        self.stop(f"signal {signal.Signals(number).name}")

    def pause(self, reason: str) -> None:
        """Hold every worker at its next step: memory is kept, the CPU is free. Those not placed yet are withdrawn."""
        self._pausing = True
        self._pause_reason = reason
        for attempt in self._running.values():
            if attempt.is_placed:
                attempt.worker.send({"command": "pause"})
            else:
                attempt.withdraw()

    def unpause(self, reason: str) -> None:
        """Go on from where everything was held."""
        self._pausing = False
        for attempt in self._running.values():
            attempt.worker.send({"command": "continue"})
        if self._journal.info.state is RunState.PAUSED:
            self._journal.run_state(RunState.RUNNING, reason)

    def cancel(self, index: int, reason: str) -> None:
        """End one model after a checkpoint, so that it can be tried again."""
        attempt = self._attempt_at(index)
        if attempt is None:
            self._queue = deque(rest for group in self._queue if (rest := tuple(i for i in group if i != index)))
            self._journal.phase(index, TrainingPhase.CANCELLED, reason)
            return
        attempt.cancelled[index] = reason
        attempt.pruned.discard(index)
        if not attempt.is_placed:
            attempt.withdraw()
            return
        if not attempt.is_leaving:  # the others of its group go on
            attempt.worker.send({"command": "let_go", "index": index})
            return
        attempt.worker.send({"command": "stop"})
        attempt.patience_ends = self._monotonic() + _CANCEL_SECONDS

    def retry(self, index: int, reason: str) -> None:
        """Queue a model again, with a fresh allowance of failures; one that was pruned is trained to its end."""
        if self._journal.models[index].pruned:
            self._halving.spare(index)
        self._failures[index] = self._divergences[index] = 0
        model = self._journal.models[index]
        diverged = model.phase is TrainingPhase.FAILED and model.failures[-1].kind == "diverged"
        self._journal.phase(index, TrainingPhase.QUEUED, reason)
        self._retried(index, reason, lower=diverged and self._lowers_rate)
        self._queue.append((index,))

    def set_workers(self, requested: int, reason: str) -> str | None:
        """Ask for another number of workers; the rules have the last word."""
        if self._journal.info.mode == "series":
            return "the run is in series mode: one model at a time; start runs with --mode parallel to have more"
        before = self._governor.slots
        limit = self._request(requested)
        self._journal.limit(limit)
        kind = "grow" if limit.workers > before else "shrink"
        self._journal.decide(kind, f"up to {limit.workers} at once from now on ({reason}): {limit.reason}")
        while len(self._loads()) > limit.workers:
            self._requeue_newest(limit.reason)
        return None

    def _request(self, workers: int) -> WorkerLimit:
        return self._neighbours.decide(
            lambda others: self._governor.request(workers, self._machine.latest.resources, self._loads(), others),
            self._wanted,
        )

    @property
    def is_pausing(self) -> bool:
        """Whether a pause was asked for."""
        return self._pausing

    @property
    def is_killing(self) -> bool:
        """Whether the run is being ended at once."""
        return self._ending is RunState.KILLED

    @property
    def is_within_slots(self) -> bool:
        """Whether no more workers run than may."""
        return len(self._running) <= self._governor.slots

    def _settle_pause(self) -> None:
        """The run is paused once its last worker holds."""
        if not self._pausing or self._ending or self._journal.info.state is not RunState.RUNNING:
            return
        if all(self._is_held(attempt) for attempt in self._running.values()):
            self._journal.run_state(RunState.PAUSED, self._pause_reason)

    def _is_held(self, attempt: Attempt) -> bool:
        return all(self._journal.models[index].phase is TrainingPhase.PAUSED for index in attempt.jobs)

    def _attempt_at(self, index: int) -> Attempt | None:
        return next((attempt for attempt in self._running.values() if index in attempt.jobs), None)

    # --- the machine

    def _judge(self) -> None:
        """Let the governor judge every new look at the machine."""
        look = self._machine.latest
        if look.number == self._judged:
            return
        self._judged = look.number
        self._keep_sample()
        warning = self._disk.look(self._journal.clock(), len(self._running))
        if warning is not None:
            self._journal.record(warning)
        if self._ending is not None:
            return
        now = self._monotonic()
        verdict = self._neighbours.decide(
            lambda others: self._governor.look(look.resources, self._loads(), others, now), self._wanted
        )
        if verdict.limit is not None:
            self._journal.limit(verdict.limit)
        if verdict.grown is not None:
            self._journal.decide("grow", verdict.grown)
        if verdict.warning is not None:
            self._journal.warn("memory", verdict.warning)
        if verdict.requeue is not None:
            self._requeue_newest(verdict.requeue)

    def _keep_sample(self) -> None:
        """Keep what was last seen of the machine with the run, and what its workers cost."""
        look = self._machine.latest
        if look.sample is not None:
            costs = sum(attempt.memory or 0 for attempt in self._running.values())
            self._journal.resources(look.to_record(len(self._running), costs))

    def _loads(self) -> list[Load]:
        """The workers that are to go on, the newest last."""
        resident = self._engine.samples()
        return [
            Load(number, attempt.memory, attempt.gpu_memory, attempt.held(resident.get(number)))
            for number, attempt in self._running.items()
            if not attempt.is_leaving
        ]

    def _wanted(self) -> int:
        """How many workers this run can use and may have: none while it waits for another one."""
        if self._waiting:
            return 0
        return min(self._governor.slots, len(self._running) + len(self._queue))

    def _requeue_newest(self, reason: str) -> None:
        """Checkpoint the worker that was started last and queue its models again."""
        attempt = self._running[self._loads()[-1].worker]
        when = "after a checkpoint" if attempt.is_placed else "before its worker is placed"
        self._journal.decide("requeue", f"{attempt.name} makes room {when}: {reason}")
        attempt.leaving, attempt.reason = "requeued", reason
        self._tell_to_stop(attempt)

    @staticmethod
    def _tell_to_stop(attempt: Attempt) -> None:
        """End the worker after a checkpoint; one that is not placed has none to save."""
        if attempt.is_placed:
            attempt.worker.send({"command": "stop"})
        else:
            attempt.withdraw()

    # --- starting and ending workers

    def _fill_slots(self) -> None:
        while self._queue and self._ending is None and not self._pausing:
            # A worker that is leaving has its memory still.
            if len(self._running) >= self._governor.slots or self._is_full():
                return
            held = self._governor.hold(self._machine.now(), self._loads()) if self._running else None
            if held is not None:
                self._tell_hold(held)
                return
            self._start(self._queue.popleft())

    def _is_full(self) -> bool:
        """Whether the engine has no place for a further worker; one may always be asked for."""
        capacity = self._engine.capacity()
        return bool(self._running) and capacity is not None and capacity <= 0

    def _tell_hold(self, reason: str) -> None:
        """Tell why no further worker starts: each reason once until one does, however often its figures change."""
        kind = _FIGURE.sub("", reason)
        if kind and kind not in self._held:
            self._held.add(kind)
            self._journal.decide("hold", reason)

    def _start(self, group: Group) -> None:
        self._held.clear()
        jobs = [self._job(index) for index in group]
        jobs[0] = self._code.job(jobs[0])  # once for all of a worker
        log = jobs[0].model
        worker = self._engine.spawn("train", jobs, log, self._on_message, self._on_exit, ahead=self._is_ahead())
        self._running[worker.id] = Attempt.begin(worker, self._settings.run.hang_seconds or None, self._monotonic())
        for index in group:
            self._speed.forget(index)

    def _is_ahead(self) -> bool:
        """Whether the worker after the one that starts now is to be forked ahead: it will take its place."""
        loads = [*self._loads(), Load(0)]
        if not self._queue or len(loads) < self._governor.slots:
            return False
        return self._governor.has_room(self._machine.latest.resources, loads)

    def _job(self, index: int) -> Job:
        model = self._journal.models[index]
        return replace(
            self._base_job,
            model=model.name,
            index=index,
            attempt=model.attempt,
            seed=model.seed,
            settings=self._configs.of(index),
            rungs=self._rungs,
            learning_rate_factor=model.learning_rate_factor,
            rollbacks=model.rollbacks,
            rollback=model.rollback,
            epochs_recorded=model.epoch,
            data=self._configs.data(index, self._data),
            exact=not self._journal.info.changes_accepted,
            inherited_step=self._inherited.get(index),
        )

    def _on_message(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        attempt = self._running.get(worker.id)
        if attempt is None:
            return  # what it was to do is given to another one by now
        if "where" in message:
            attempt.where = message["where"]
            attempt.watchdog.answered()
            return
        attempt.watchdog.sign_of_life(self._monotonic())
        if "event" in message:
            event = happened.from_record(message)
            if isinstance(event, happened.ModelEvent) and not attempt.covers(event):
                return
            if "checkpoints" in message and isinstance(event, happened.ModelFailed):
                self._saved[event.index] = [Saved(step, epoch) for step, epoch in message["checkpoints"]]
            self._take_event(attempt, event)
        elif "memory" in message:
            attempt.memory, attempt.gpu_memory = message["memory"], message.get("gpu_memory")
            attempt.shared = message["shared"]
            self._governor.measured(message["memory"], attempt.gpu_memory)
            self._keep_sample()  # a short run may end between two looks
        elif "outcome" in message:
            attempt.outcome = message["outcome"]
        elif "rung" in message:
            self._judge_rung(attempt, message["rung"], message["epoch"], message["loss"])
        elif "left" in message:
            self._left(attempt, message["left"])
        elif "result" in message:
            self._publish(attempt, message["result"], message["attempt"])
        elif "code" in message:
            self._answer_import(attempt, message["code"])

    def _publish(self, attempt: Attempt, index: int, of_attempt: int) -> None:
        """A worker has finished a model: its files get their final names, if they are of the current attempt."""
        job = attempt.jobs.get(index)
        if job is None or job.attempt != of_attempt:
            return

        def answer(error: RunDirectoryError | None) -> None:
            why, number = (None, None) if error is None else (str(error), error.errno)
            attempt.worker.send({"command": "published", "index": index, "refused": why, "errno": number})

        self._publisher.publish(Result(job.model, of_attempt), answer)

    def _answer_import(self, attempt: Attempt, file: str) -> None:
        """A worker imports a file of custom code that is not recorded: from now on all models use a copy of it."""
        answer, is_new = self._code.answer(file)
        if is_new:
            self._journal.put_info(self._code.in_record(self._journal.info))
            problem = keep_trusted(self._journal.info)
            self._journal.warn(
                "code",
                f"{file} was imported for the first time after the run had begun: it is copied as it is now, and all "
                f"models that import it from now on use that copy{problem}",
            )
        attempt.worker.send(answer)

    def _take_event(self, attempt: Attempt, event: happened.Event) -> None:
        if isinstance(event, happened.ModelFailed):
            attempt.failures[event.index] = event
            return
        if isinstance(event, happened.ModelStarted):
            self._inherited[event.index] = event.step
            event = attempt.started(event)
        if isinstance(event, happened.CheckpointSaved):
            self._inherited[event.index] = event.step
            self._disk.checkpoint(event.bytes)
            if event.step > self._journal.models[event.index].checkpoint_step:
                self._failures[event.index] = 0
        before = self._journal.models[event.index].rollback if isinstance(event, happened.EpochFinished) else None
        self._journal.record(event)
        if isinstance(event, happened.EpochFinished):
            self._halving.reported(event.index, event.epoch, self._metrics.measure(event.metrics))
            if before is not None and self._journal.models[event.index].rollback is None:
                self._divergences[event.index] = 0
            slower = self._speed.take(event)
            if slower is not None:
                self._journal.record(slower)

    def _judge_rung(self, attempt: Attempt, index: int, epoch: int, loss: float | None) -> None:
        """A model waits at a rung of the halving to hear whether it goes on."""
        verdict = self._halving.reached(index, epoch, loss)
        if not verdict.goes_on and index not in attempt.cancelled:
            attempt.cancelled[index] = verdict.reason
            attempt.pruned.add(index)
            self._journal.decide("prune", f"{self._journal.models[index].name} {verdict.reason}")
        attempt.worker.send({"command": "rung", "index": index, "epoch": epoch, "goes_on": verdict.goes_on})

    def _watch_workers(self) -> None:
        now = self._monotonic()
        for attempt in self._running.values():
            if attempt.patience_ends is not None and now >= attempt.patience_ends:
                attempt.patience_ends = None
                attempt.worker.kill()
            # Told to go on, it has to; and one that is not placed yet has nothing to go on with.
            waits = not attempt.is_placed or (self._pausing and self._is_held(attempt))
            match attempt.watchdog.look(now, waits=waits):
                case HangVerdict.ASK:
                    attempt.worker.send({"command": "where"})
                case HangVerdict.END:
                    # Whoever told of a failure before has to leave too.
                    for index, job in attempt.jobs.items():
                        attempt.failures.setdefault(index, attempt.hang(job, self._journal.clock()))
                    attempt.worker.kill()

    def _left(self, attempt: Attempt, index: int) -> None:
        """A model has left its group, which goes on: it is done, has diverged, or was let go after a checkpoint."""
        job = attempt.jobs.pop(index)
        failure = attempt.failures.pop(index, None)
        reason = attempt.cancelled.pop(index, None)
        model = self._journal.models[index]
        is_done = model.phase is TrainingPhase.COMPLETED
        why = model.reason if is_done else failure.message if failure else reason
        self._journal.decide("group", f"{job.model} leaves its group: {why}")
        if is_done:
            return
        if reason is not None:
            self._journal.phase(index, TrainingPhase.CANCELLED, reason, pruned=index in attempt.pruned)
        elif failure is not None and self._failed(failure, self._consequence(failure, beside=len(self._running))):
            self._queue.appendleft((index,))

    def _on_exit(self, worker: WorkerHandle) -> None:
        attempt = self._running.pop(worker.id)
        self._held.clear()
        models = self._journal.models
        attempt.jobs = {i: job for i, job in attempt.jobs.items() if models[i].phase is not TrainingPhase.COMPLETED}
        for index in attempt.jobs.keys() & attempt.cancelled.keys():
            self._journal.phase(
                index, TrainingPhase.CANCELLED, attempt.cancelled[index], pruned=index in attempt.pruned
            )
            del attempt.jobs[index]
        if not attempt.jobs:
            return
        if attempt.leaving == "withdrawn":
            self._withdrawn(attempt)
        elif attempt.leaving == "killed":
            for index in attempt.jobs:
                self._journal.phase(index, TrainingPhase.QUEUED, "killed; its newest checkpoint is kept")
        elif attempt.outcome == "stopped":
            self._stopped(attempt)
        else:
            self._broken(worker, attempt)

    def _withdrawn(self, attempt: Attempt) -> None:
        """A worker was withdrawn before it was placed: its models are where they were."""
        for index in attempt.jobs:
            if self._journal.models[index].phase.is_active:  # it was placed at that moment, and had begun
                self._journal.phase(index, TrainingPhase.QUEUED, "the worker was withdrawn")
        if self._ending is None:
            group = tuple(attempt.jobs)
            later = (place for place, other in enumerate(self._queue) if other[0] > group[0])
            self._queue.insert(next(later, len(self._queue)), group)

    def _stopped(self, attempt: Attempt) -> None:
        """A worker has left after a checkpoint, as it was told to."""
        # Where nobody here asked, somebody signalled the worker itself, and the run as such goes on.
        reason = attempt.reason or "the worker was told to stop; it goes on from its checkpoint"
        for index in attempt.jobs:
            self._journal.phase(
                index, TrainingPhase.QUEUED, reason if self._ending is None else "stopped after a checkpoint"
            )
        if self._ending is None:
            self._queue.appendleft(tuple(attempt.jobs))

    def _broken(self, worker: WorkerHandle, attempt: Attempt) -> None:
        """A worker has ended without being done: what becomes of each model that it had."""
        again, split, shrink = list[int](), False, False
        for index, job in attempt.jobs.items():
            failure = attempt.failures.get(index) or unexplained(worker, job, self._journal.clock())
            follows = self._consequence(failure, beside=len(self._running), members=len(attempt.jobs))
            if self._failed(failure, follows):
                again.append(index)
            split = split or follows.split
            shrink = shrink or follows.shrink
        if shrink:
            workers = self._governor.ran_out(len(self._running), self._monotonic())
            what = f"{workers} worker{'s' if workers > 1 else ''} at once from now on"
            self._journal.decide("shrink", f"{attempt.name} ran out of memory: {what}")
        if split:
            self._journal.decide("group", f"{attempt.name} ran out of memory: in two groups from now on")
        parts = groups.halves(tuple(again)) if split else [tuple(again)]
        self._queue.extendleft(part for part in reversed(parts) if part)

    @property
    def _lowers_rate(self) -> bool:
        return self._settings.training.on_divergence == "lower"

    def _consequence(self, failure: happened.ModelFailed, *, beside: int, members: int = 1) -> Consequence:
        index, diverged = failure.index, failure.kind == "diverged"
        return consequence(
            failure,
            earlier=self._divergences[index] if diverged else self._failures[index],
            allowed=self._settings.run.max_retries,
            beside=beside,
            ending=self._ending is not None,
            lowers_rate=self._lowers_rate,
            members=members,
            goes_further=diverged and goes_further(self._journal.models[index], self._saved.get(index)),
        )

    def _failed(self, failure: happened.ModelFailed, follows: Consequence) -> bool:
        """Record a failed attempt at one model with what follows; returns whether the model is to be queued again."""
        index = failure.index
        counter = self._divergences if failure.kind == "diverged" else self._failures
        counter[index] += follows.counts
        self._journal.record(replace(failure, will_retry=follows.retry))
        if not follows.retry:
            self._journal.phase(index, TrainingPhase.FAILED, failure.message)
            return False
        self._journal.phase(index, TrainingPhase.QUEUED, f"attempt {failure.attempt} failed: {failure.message}")
        self._retried(index, failure.message, lower=follows.lower_rate)
        return True

    def _retried(self, index: int, reason: str, *, lower: bool) -> None:
        """A model begins another attempt: from its newest checkpoint, or further back with a lower learning rate."""
        model = self._journal.models[index]
        retried = happened.ModelRetried(
            time=self._journal.clock(),
            model=model.name,
            index=index,
            attempt=model.attempt + 1,
            from_epoch=model.checkpoint_epoch,
            reason=reason,
            learning_rate_factor=model.learning_rate_factor,
        )
        if lower:
            retried = rolled_back(retried, model, self._saved.get(index), self._settings.training.divergence_factor)
            self._inherited[index] = retried.to_step or 0
        self._journal.record(retried)

    def _final_state(self) -> RunState:
        if all(model.is_done for model in self._journal.models.values()):
            return RunState.COMPLETED
        return self._ending or RunState.FAILED
