"""Handles messages of active workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol import events as happened
from forge_tui.protocol.metrics import declared_metrics, table_of
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.rollback import Saved
from forge_tui.runner.alerts import SpeedWatch
from forge_tui.runner.attempt import Attempt
from forge_tui.runner.code_copy import keep_trusted
from forge_tui.runner.course import Course
from forge_tui.runner.work import Means, Work
from forge_tui.runs.results import Result


class Messages:
    """Dispatches each message, and answers requests.

    `measured` is called when a worker has reported its memory, with the bytes of GPU memory, if any.
    """

    def __init__(
        self, work: Work, means: Means, course: Course, measured: Callable[[Attempt, int | None], None]
    ) -> None:
        self._code, self._journal = work.code, work.journal
        self._publisher = means.publisher
        self._retries, self._halving, self._disk = course.retries, course.halving, course.disk
        self._search = course.search
        self._measured = measured
        self._training = work.settings.training
        self._metrics = table_of(self._training, work.journal.info.metrics)
        self._speed = SpeedWatch()

    def forget_speed(self, index: int) -> None:
        """Do not compare a model's next epochs with earlier ones."""
        self._speed.forget(index)

    def take(self, attempt: Attempt, message: dict[str, Any], now: float) -> None:
        """Handle a message at `now` (monotonic)."""
        if "where" in message:
            attempt.where = message["where"]
            attempt.watchdog.answered()
            return
        attempt.watchdog.sign_of_life(now)
        if "event" in message:
            self._event(attempt, message)
        elif "memory" in message:
            attempt.memory, attempt.shared = message["memory"], message["shared"]
            self._measured(attempt, message.get("gpu_memory"))
        elif "outcome" in message:
            attempt.outcome = message["outcome"]
        elif "rung" in message:
            self._judge_rung(attempt, message["rung"], message["epoch"], message["loss"])
        elif "result" in message:
            self._publish(attempt, message["result"], message["attempt"], has_weights=message.get("weights", True))
        elif "declared" in message:
            self._declare(attempt, message)
        elif "code" in message:
            self._answer_import(attempt, message["code"])

    def _event(self, attempt: Attempt, message: dict[str, Any]) -> None:
        event = happened.from_record(message)
        if isinstance(event, happened.ModelEvent) and not attempt.covers(event):
            return
        match event:
            case happened.ModelFailed():
                # Its consequence is decided when the worker has ended or the model has left its group.
                attempt.failures[event.index] = event
                if message.get("final") is True:
                    attempt.hopeless.add(event.index)
                if "checkpoints" in message:
                    self._retries.diverged(event.index, [Saved(step, epoch) for step, epoch in message["checkpoints"]])
            case happened.EpochFinished():
                if attempt.on_devices is not None:
                    attempt.on_devices.has_trained = True
                self._epoch(event)
            case happened.CheckpointSaved():
                self._disk.checkpoint(event.bytes)
                self._retries.saved(event)
                self._journal.record(event)
            case happened.ModelStarted():
                self._retries.started(event)
                event = attempt.started(event)
                self._tell_new_place(event)
                self._journal.record(event)
            case happened.PhaseChanged(phase=TrainingPhase.COMPLETED):
                if self._search is not None:
                    self._search.ended(event.index)
                self._journal.record(event)
            case _:
                self._journal.record(event)

    def _tell_new_place(self, event: happened.ModelStarted) -> None:
        """Record where a model continues whose node was lost."""
        model = self._journal.models[event.index]
        lost = model.failures[-1] if model.failures else None
        if lost is None or lost.kind != "node_lost" or lost.attempt != event.attempt - 1 or event.place is None:
            return
        where = f"from epoch {model.checkpoint_epoch}" if event.step else "from the beginning"
        self._journal.decide("place", f"{event.model} continues {where} on {event.place['host']}: {lost.message}")

    def _epoch(self, event: happened.EpochFinished) -> None:
        before = self._journal.models[event.index].rollback
        self._journal.record(event)
        measure = self._metrics.measure(event.metrics)
        self._halving.reported(event.index, event.epoch, measure)
        if self._search is not None:
            self._search.reported(event.index, event.epoch, measure)
        if before is not None and self._journal.models[event.index].rollback is None:
            self._retries.is_beyond_divergence(event.index)
        slower = self._speed.take(event)
        if slower is not None:
            self._journal.record(slower)

    def _judge_rung(self, attempt: Attempt, index: int, epoch: int, loss: float | None) -> None:
        """Send the verdict to a model that waits at a rung of the halving."""
        verdict = self._halving.reached(index, epoch, loss)
        if not verdict.continues and index not in attempt.cancelled:
            attempt.cancelled[index] = verdict.reason
            attempt.pruned.add(index)
            if self._search is not None:
                self._search.ended(index, may_continue=True)
            self._journal.decide("prune", f"{self._journal.models[index].name} {verdict.reason}")
        attempt.worker.send({"command": "rung", "index": index, "epoch": epoch, "continues": verdict.continues})

    def _declare(self, attempt: Attempt, message: dict[str, Any]) -> None:
        """Record which values of its metrics a training function calls better."""
        job = attempt.jobs.get(message["index"])
        if job is not None and job.attempt == message["attempt"]:
            self._journal.declare(declared_metrics(message["declared"]))
            self._metrics = table_of(self._training, self._journal.info.metrics)

    def _publish(self, attempt: Attempt, index: int, of_attempt: int, *, has_weights: bool) -> None:
        """Give a finished model's files their final names, if they are of the current attempt."""
        job = attempt.jobs.get(index)
        if job is None or job.attempt != of_attempt:
            return

        def answer(error: RunDirectoryError | None) -> None:
            why, number = (None, None) if error is None else (str(error), error.errno)
            attempt.worker.send({"command": "published", "index": index, "refused": why, "errno": number})

        self._publisher.publish(Result(job.model, of_attempt, has_weights), answer)

    def _answer_import(self, attempt: Attempt, file: str) -> None:
        """Copy a file of custom code that a worker imports for the first time: all models use the copy from now on."""
        answer, is_new = self._code.answer(file)
        if is_new:
            self._journal.put_info(self._code.in_record(self._journal.info))
            problem = keep_trusted(self._journal.info)
            self._journal.warn(
                "code",
                f"{file} was imported for the first time after the start of the run: it is copied as it is now, and "
                f"all models that import it later use that copy{problem}",
            )
        attempt.worker.send(answer)
