"""Which model runs when: the queue, the worker slots, retries, and the commands of viewers.

Event-driven: one thread waits on the workers' sockets, the fork server, signals and the caller's channel, and looks
for commands every 100 ms. Nothing in it waits for a disk.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.progress import events as happened
from forge_tui.progress.phases import RunState, TrainingPhase
from forge_tui.runner.governor import Governor
from forge_tui.runner.journal import Journal
from forge_tui.runner.local import LocalLauncher, Worker
from forge_tui.runner.prepare import ending
from forge_tui.runs import commands
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings
from forge_tui.training.job import Job

TICK_SECONDS = 0.1


@dataclass(slots=True)
class _Attempt:
    """What the scheduler remembers of a worker at work on a model."""

    worker: Worker
    outcome: str | None = None
    failure: happened.ModelFailed | None = None
    memory: int | None = None


class Scheduler:
    """Runs the models of one run to their end."""

    def __init__(
        self,
        directory: RunDirectory,
        settings: Settings,
        base_job: Job,
        journal: Journal,
        launcher: LocalLauncher,
        governor: Governor,
        selector: selectors.BaseSelector,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._base_job = base_job
        self._journal = journal
        self._launcher = launcher
        self._governor = governor
        self._selector = selector
        self._running: dict[int, _Attempt] = {}
        self._queue: deque[int] = deque(
            index for index, model in sorted(journal.models.items()) if model.phase is TrainingPhase.QUEUED
        )
        self._failures = dict.fromkeys(journal.models, 0)
        self._ending: RunState | None = None
        self._answer_when_done: list[commands.Command] = []
        self._held: str | None = None
        self._deaf: str | None = None

    def run(self) -> RunState:
        """Train until nothing is left to do or the run is ended; return its final state."""
        started = time.monotonic()
        limit = self._settings.run.max_seconds
        self._journal.run_state(RunState.RUNNING)
        while True:
            self._fill_slots()
            if not self._running and (self._ending or not self._queue):
                break
            for key, _ in self._selector.select(TICK_SECONDS):
                key.data()
            self._launcher.tick()
            self._take_commands()
            if limit is not None and time.monotonic() - started >= limit:
                self.stop(f"time limit of {limit:g} s ([run] max_seconds, --max-time)")
        status = self._final_state()
        for command in self._answer_when_done:
            self._answer(command, "done")
        self._take_commands()
        self._journal.finish(status, time.monotonic() - started)
        return status

    def stop(self, reason: str) -> None:
        """End the run after a checkpoint of every model in training. A second request changes nothing."""
        if self._ending is None:
            self._ending = RunState.STOPPED
            self._journal.run_state(RunState.STOPPING, reason)
            for attempt in self._running.values():
                attempt.worker.send({"command": "stop"})

    def kill(self, reason: str) -> None:
        """End the run at once; what was trained since the newest checkpoints is lost."""
        if self._ending is not RunState.KILLED:
            self._ending = RunState.KILLED
            self._journal.run_state(RunState.STOPPING, reason)
            for attempt in self._running.values():
                attempt.worker.kill()

    def stop_by_signal(self, number: int) -> None:
        """Treat a signal as a request to stop."""
        self.stop(f"signal {signal.Signals(number).name}")

    # --- starting and ending workers

    def _fill_slots(self) -> None:
        while self._queue and self._ending is None:
            costs = [attempt.memory for attempt in self._running.values()]
            held = self._governor.hold(costs)
            if held is not None:
                # A full house is the normal case and no decision; a lack of memory is one.
                if held and held != self._held:
                    self._journal.decide("hold", held)
                self._held = held
                return
            self._held = None
            self._start(self._queue.popleft())

    def _start(self, index: int) -> None:
        model = self._journal.models[index]
        job = replace(self._base_job, model=model.name, index=index, attempt=model.attempt, seed=model.seed)
        worker = self._launcher.spawn("train", job, self._directory.log(model.name), self._on_message, self._on_exit)
        self._running[index] = _Attempt(worker)

    def _on_message(self, worker: Worker, message: dict[str, Any]) -> None:
        attempt = self._running[worker.job.index]
        if "event" in message:
            event = happened.from_record(message)
            if isinstance(event, happened.ModelFailed):
                attempt.failure = event
                return
            if isinstance(event, happened.CheckpointSaved):
                newer = event.step > self._journal.models[event.index].checkpoint_step
                self._failures[event.index] = 0 if newer else self._failures[event.index]
            self._journal.record(event)
        elif "memory" in message:
            attempt.memory = message["memory"]
            self._governor.measured(message["memory"])
        elif "outcome" in message:
            attempt.outcome = message["outcome"]

    def _on_exit(self, worker: Worker) -> None:
        index = worker.job.index
        attempt = self._running.pop(index)
        if self._journal.models[index].phase is TrainingPhase.COMPLETED:
            return
        if attempt.outcome == "stopped" and self._ending is None:
            # Somebody signalled the worker itself: the run as such goes on.
            self._journal.phase(
                index, TrainingPhase.QUEUED, "the worker was told to stop; it goes on from its checkpoint"
            )
            self._queue.appendleft(index)
        elif attempt.outcome == "stopped":
            self._journal.phase(index, TrainingPhase.QUEUED, "stopped after a checkpoint")
        elif worker.killed:
            self._journal.phase(index, TrainingPhase.QUEUED, "killed; its newest checkpoint is kept")
        else:
            self._failed(attempt, attempt.failure or self._unexplained(worker))

    def _unexplained(self, worker: Worker) -> happened.ModelFailed:
        """The record of a worker that ended without a word."""
        status = worker.status if worker.status is not None else 0
        kind = "signal" if status < 0 else "exit"
        cause = "ended because its fork server died" if worker.orphaned else ending(status)
        message = f"worker {worker.pid or '—'} {cause} before the model was finished"
        return happened.ModelFailed(
            time=self._journal.clock(),
            model=worker.job.model,
            index=worker.job.index,
            attempt=worker.job.attempt,
            kind=kind,
            message=message,
        )

    def _failed(self, attempt: _Attempt, failure: happened.ModelFailed) -> None:
        index = failure.index
        self._failures[index] += 1
        allowed = self._settings.run.max_retries
        # A diverged model would diverge again: its steps are exactly repeatable.
        will_retry = failure.kind != "diverged" and self._failures[index] <= allowed and self._ending is None
        self._journal.record(replace(failure, will_retry=will_retry))
        if failure.kind == "out_of_memory" and self._running:
            self._shrink(failure)
        if not will_retry:
            self._journal.phase(index, TrainingPhase.FAILED, failure.message)
            return
        model = self._journal.models[index]
        self._journal.phase(index, TrainingPhase.QUEUED, f"attempt {failure.attempt} failed: {failure.message}")
        self._journal.record(
            happened.ModelRetried(
                time=self._journal.clock(),
                model=model.name,
                index=index,
                attempt=failure.attempt + 1,
                from_epoch=model.checkpoint_epoch,
                reason=failure.message,
            )
        )
        self._queue.appendleft(index)

    def _shrink(self, failure: happened.ModelFailed) -> None:
        workers = self._governor.shrink(len(self._running))
        self._journal.decide(
            "shrink",
            f"{failure.model} ran out of memory: {workers} worker{'s' if workers > 1 else ''} at once from now on",
        )

    # --- commands and the end

    def _take_commands(self) -> None:
        for command in self._waiting_commands():
            if command.problem is not None:
                self._answer(command, "refused", command.problem)
            elif command.name == "stop" and self._ending is None:
                self._answer(command, "accepted")
                self._answer_when_done.append(command)
                self.stop(f"command from {command.sender}")
            elif command.name == "kill" and self._ending is not RunState.KILLED:
                self._answer(command, "accepted")
                self._answer_when_done.append(command)
                self.kill(f"command from {command.sender}")
            elif command.name in ("stop", "kill"):
                self._answer(command, "refused", "the run is ending already")
            else:
                self._answer(command, "refused", f"there is no command {command.name!r}; this runner knows stop, kill")

    def _waiting_commands(self) -> list[commands.Command]:
        try:
            return commands.take(self._directory)
        except RunDirectoryError as error:
            if self._deaf != str(error):
                self._deaf = str(error)
                self._journal.warn("commands", f"{error}; until then the run takes no commands")
            return []

    def _answer(self, command: commands.Command, outcome: str, reason: str | None = None) -> None:
        self._journal.record(
            happened.CommandAnswered(
                time=self._journal.clock(),
                id=command.id,
                name=command.name,
                arguments=dict(command.arguments),
                sender=command.sender,
                outcome=outcome,
                reason=reason,
            )
        )

    def _final_state(self) -> RunState:
        models: Sequence[TrainingPhase] = [model.phase for model in self._journal.models.values()]
        if all(phase is TrainingPhase.COMPLETED for phase in models):
            return RunState.COMPLETED
        return self._ending or RunState.FAILED
