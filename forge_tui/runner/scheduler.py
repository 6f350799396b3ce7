"""The core of a run: one thread that runs it to its end.

Event-driven: it waits on the engine, signals and the caller's channel, and checks every 100 ms for commands, hanging
workers and the machine's state; less often while the run waits for another one. Nothing in it waits for a disk.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from forge_tui.protocol.phases import RunState
from forge_tui.runner.alerts import HistoryWatch
from forge_tui.runner.attempts import Attempts
from forge_tui.runner.course import Course
from forge_tui.runner.endings import Endings
from forge_tui.runner.placement import Placement
from forge_tui.runner.steering import Steering
from forge_tui.runner.work import Means, Room, Watches, Work
from forge_tui.runs.layout import RunDirectory

TICK_SECONDS = 0.1
# A run that waits for another one checks less and less often for its end, and for commands.
LONGEST_TICK_SECONDS = 1.0
_PART_OF_WAIT = 0.05


class Scheduler:
    """Runs the models of one run to their end.

    `Placement` chooses the next group and the number of workers, `Attempts` has the active ones, `Endings` handles
    requests; they share the `Course`.
    """

    def __init__(self, work: Work, means: Means, room: Room, watches: Watches | None = None) -> None:
        self._directory, self._journal = work.directory, work.journal
        self._limit = work.settings.run.max_seconds
        self._means = means
        self._watches = watches or Watches()
        self._history = HistoryWatch()
        self._is_gone = False
        self._course = Course.begin(work, means.sampler)
        self._attempts = Attempts(work, means, room, self._course)
        self._placement = Placement(work, means, room, self._course, self._attempts)
        self.endings = Endings(work, means, self._course, self._attempts, self._placement)
        self.steering = Steering(work.directory, work.journal, self.endings)

    def run(self, waits: Callable[[], str | None]) -> RunState:
        """Train until nothing is left to do or the run is ended; returns its final state.

        `waits` returns what the run waits for before its first model, or None.
        """
        waited = self._wait_for_turn(waits)
        self._placement.begin(waited=waited)
        self._attempts.begin_samples()
        started = self._means.monotonic()
        if not self._course.is_ending:
            self._journal.run_state(RunState.RUNNING)
        while True:
            if (stranded := self._placement.stranded) is not None:
                self.stop(stranded)
            self._placement.fill()
            if self.endings.is_over:
                break
            self._tick()
            if self._limit is not None and self._means.monotonic() - started >= self._limit:
                self.stop(f"time limit of {self._limit:g} s ([run] max_seconds, --max-time)")
        status = self.endings.final_state
        self.steering.finish(status)
        self._attempts.end_samples()
        self._journal.finish(status, self._means.monotonic() - started)
        return status

    def stop(self, reason: str) -> None:
        """End the run after a checkpoint of every model in training."""
        self.endings.stop(reason)

    def stop_by_signal(self, number: int) -> None:
        """Stop the run after a signal."""
        self.stop(f"signal {signal.Signals(number).name}")

    @property
    def is_gone(self) -> bool:
        """Whether the run directory or its records are gone: nothing can be written there."""
        return self._is_gone

    def _wait_for_turn(self, waits: Callable[[], str | None]) -> bool:
        """Wait for the run's turn; returns whether it had to wait."""
        waited_for, begun = None, self._means.monotonic()
        while not self._course.is_ending and (reason := waits()) is not None:
            if reason != waited_for:
                waited_for = reason
                self._course.waiting = True
                self._journal.run_state(RunState.QUEUED, reason)
            waited = self._means.monotonic() - begun
            self._tick(min(LONGEST_TICK_SECONDS, max(TICK_SECONDS, _PART_OF_WAIT * waited)))
        self._course.waiting = False
        return waited_for is not None

    def _tick(self, seconds: float = TICK_SECONDS) -> None:
        for key, _ in self._means.selector.select(seconds):
            key.data()
        self._means.engine.tick()
        self._history.look(self._journal.store_problem)
        self._look_for_directory()
        self.steering.take()
        for words in self._watches.code.news() if self._watches.code is not None else ():
            self._journal.warn("code", words)
        self.endings.settle_pause()
        self._attempts.watch()
        self._placement.judge()

    def _look_for_directory(self) -> None:
        """End the run if its directory was moved or deleted: nothing may be created at the old path.

        If it was moved, the workers save their last steps at the new place.
        """
        watch = self._watches.directory
        lost = None if watch is None or self._is_gone else watch.look()
        if lost is None:
            return
        if lost.path is None:
            self._is_gone = True
            self.steering.move(None)
            self.endings.kill(lost.reason)
            return
        if lost.path != self._directory.path:
            self._directory = RunDirectory(lost.path)
            self.steering.move(self._directory)
            self._journal.move(self._directory)
            for attempt in self._attempts:
                attempt.worker.send({"command": "move", "directory": str(lost.path)})
        self.stop(lost.reason)
