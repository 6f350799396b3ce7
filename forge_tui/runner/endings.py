"""Requests of viewers and signals: stop, pause or continue the run, cancel or retry a model."""

from __future__ import annotations

from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runner.attempts import Attempts
from forge_tui.runner.course import Course
from forge_tui.runner.placement import Placement
from forge_tui.runner.work import Means, Work
from forge_tui.settings.replacement import replacement_in

# Time for a cancelled model to save its checkpoint, after which a hanging worker is ended.
_CANCEL_SECONDS = 10.0


class Endings:
    """Carries out requests (`steering.Steered`) with the workers, and determines how the run ends."""

    def __init__(self, work: Work, means: Means, course: Course, attempts: Attempts, placement: Placement) -> None:
        self._journal, self._monotonic = work.journal, means.monotonic
        self._has_custom_loop = replacement_in(work.settings) is not None
        # A command that does not end in time is killed by its worker.
        self._patience = _CANCEL_SECONDS + (work.settings.run.stop_seconds if work.settings.run.command else 0.0)
        self._course, self._attempts, self._placement = course, attempts, placement

    def stop(self, reason: str) -> None:
        """End the run after a checkpoint of every model in training. A second request changes nothing."""
        if not self._course.is_ending:
            self._course.ending = RunState.STOPPED
            self._journal.run_state(RunState.STOPPING, reason)
            for attempt in self._attempts:
                attempt.stop()

    def kill(self, reason: str) -> None:
        """End the run at once; the work since the newest checkpoints is lost."""
        if self._course.ending is not RunState.KILLED:
            self._course.ending = RunState.KILLED
            self._journal.run_state(RunState.STOPPING, reason)
            for attempt in self._attempts:
                attempt.kill()

    def pause(self, reason: str) -> None:
        """Pause every worker at its next step: memory is kept, the CPU is free. Unplaced workers are withdrawn."""
        self._course.pausing, self._course.pause_reason = True, reason
        for attempt in self._attempts:
            if attempt.is_placed:
                attempt.worker.send({"command": "pause"})
            else:
                attempt.withdraw()

    def unpause(self, reason: str) -> None:
        """End a pause."""
        self._course.pausing = False
        for attempt in self._attempts:
            attempt.worker.send({"command": "continue"})
        if self._journal.info.state is RunState.PAUSED:
            self._journal.run_state(RunState.RUNNING, reason)

    def cancel(self, index: int, reason: str) -> None:
        """End one model after a checkpoint, so that it can be tried again."""
        attempt = self._attempts.of(index)
        if attempt is None:
            self._course.queue.remove(index)
            self._journal.phase(index, TrainingPhase.CANCELLED, reason)
            return
        attempt.cancelled[index] = reason
        attempt.pruned.discard(index)
        if not attempt.is_placed:
            attempt.withdraw()
        elif not attempt.is_leaving:  # the others of its group continue
            attempt.worker.send({"command": "leave", "index": index})
        else:
            if self._has_custom_loop:  # one that need not save a checkpoint first
                attempt.worker.send({"command": "leave", "index": index})
            attempt.stop()
            attempt.patience_ends = self._monotonic() + self._patience

    def retry(self, index: int, reason: str) -> None:
        """Queue a model again, with its failures reset; a pruned one is trained to its end."""
        if self._journal.models[index].pruned:
            self._course.halving.spare(index)
        self._course.retries.start_over(index, reason)
        self._course.queue.put_last((index,))

    def set_workers(self, requested: int, reason: str) -> str | None:
        """Change the number of workers; returns why not, or None."""
        if self._journal.info.mode == "series":
            return "the run is in series mode: one model at a time; start runs with --mode parallel to have more"
        self._placement.set_workers(requested, reason)
        return None

    @property
    def is_pausing(self) -> bool:
        """Whether a pause was requested."""
        return self._course.pausing

    @property
    def is_killing(self) -> bool:
        """Whether the run is being ended at once."""
        return self._course.ending is RunState.KILLED

    @property
    def is_within_slots(self) -> bool:
        """Whether the number of workers is within the limit."""
        return self._placement.is_within_slots

    def settle_pause(self) -> None:
        """Record that the run is paused once its last worker is."""
        is_running = not self._course.is_ending and self._journal.info.state is RunState.RUNNING
        if self._course.pausing and is_running and self._attempts.are_all_held:
            self._journal.run_state(RunState.PAUSED, self._course.pause_reason)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, or to wait for."""
        return not self._attempts and (self._course.is_ending or not self._course.queue)

    @property
    def final_state(self) -> RunState:
        """The state that the run ends in."""
        if all(model.is_done for model in self._journal.models.values()):
            return RunState.COMPLETED
        return self._course.ending or RunState.FAILED
