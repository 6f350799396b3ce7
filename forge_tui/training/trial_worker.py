"""One attempt at a model with a training function: the counterpart of the trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from forge_tui.errors import RunDirectoryError, TrialError, TrialStopped
from forge_tui.protocol import trial_channel
from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.settings.replacement import used_config
from forge_tui.training import model_file, random_state
from forge_tui.training.checkpoint_writer import prune_of_member
from forge_tui.training.departures import AtRung
from forge_tui.training.finished import read_finished
from forge_tui.training.metadata import trial_record
from forge_tui.training.model_place import Publish, publish_here
from forge_tui.training.patient_writes import write_patiently
from forge_tui.training.process import prepare_process
from forge_tui.training.train_function import TrainFunction
from forge_tui.training.trial import Trial
from forge_tui.training.trial_session import Declare, TrialSession


class TrialWorker:
    """Used once, in a separate process. `emit`, `control`, `at_rung` and `publish` are as a `Trainer`'s.

    `declare` gets the declarations of metrics.
    """

    def __init__(
        self,
        job: Job,
        emit: Callable[[Event], None],
        control: Control,
        at_rung: AtRung | None = None,
        declare: Declare | None = None,
        publish: Publish = publish_here,
    ) -> None:
        self._control = control
        self._session = TrialSession(job, emit, control, at_rung, declare, publish)

    def run(self) -> Outcome:
        """Call the function, until it returns or is to stop; a model that is finished gets its files.

        Raises what the function raises, `Diverged` where it reports a loss that is NaN or infinite, `SettingsError`
        where the function does not fit the settings, `TrialError` and `RunDirectoryError`.
        """
        session, member = self._session, self._session.member
        member.report.enter(TrainingPhase.INITIALIZING)
        member.require_place()
        if self._is_finished():
            return Outcome.COMPLETED
        prepare_process(session.device)
        function = TrainFunction(session.settings)
        found = session.files.newest()
        member.report.started(used_config(session.job.settings), None, 0 if found is None else found.step)
        member.report.enter(TrainingPhase.TRAINING)
        random_state.seed_everything(session.job.seed)
        session.begin()
        trial = Trial(session)
        try:
            with trial_channel.reports_go_to(trial.report):
                function.call(trial)
        except TrialStopped:
            if not session.is_over:
                raise TrialError("the training function has raised TrialStopped, and was not asked to stop") from None
        if session.has_stopped:
            session.move()
            return Outcome.STOPPED
        return Outcome.COMPLETED if self._finish() else Outcome.STOPPED

    def _is_finished(self) -> bool:
        """Whether an earlier attempt wrote the model's files; then what it could not report is reported now."""
        session = self._session

        def is_complete(record: Mapping[str, Any]) -> bool:
            config = record["config"]
            return bool(config["epochs"] >= session.epochs and config["train"] == session.settings.training.train)

        record = read_finished(session.member, is_complete)
        if record is None:
            return False
        self._report_completed(record)
        return True

    def _finish(self) -> bool:
        """Write the finished model's files, when the disk takes them; False where a stop came first."""
        session, report = self._session, self._session.member.report
        record = trial_record(
            session.job, session.settings.training, session.progress, session.parameters, saved=session.weights
        )
        reported: set[int | None] = set()

        def write() -> None:
            session.move()
            self._write(record)

        def waits(error: RunDirectoryError) -> None:
            if error.errno not in reported:
                reported.add(error.errno)
                report.warn("disk", f"{session.job.model} is trained and waits to be written: {error}")
            report.enter(TrainingPhase.SAVING, f"waits for the disk: {error}")

        report.enter(TrainingPhase.SAVING)
        return write_patiently(write, self._control, session.move, waits)

    def _write(self, record: dict[str, Any]) -> None:
        session, member = self._session, self._session.member
        with member.in_place():
            member.make_directory()
            model_file.write_result(member.checkpoints, session.job.attempt, session.job.model, session.weights, record)
            member.publish(has_weights=session.weights is not None)
            prune_of_member(member, 1)
        self._report_completed(record)

    def _report_completed(self, record: dict[str, Any]) -> None:
        session, member = self._session, self._session.member
        is_saved = record["parameters"] is not None
        stopped = record["epochs_completed"] < session.epochs
        member.report.completed(
            member.stem if is_saved else session.directory(),
            metrics=dict(record["metrics"]),
            seconds=record["seconds"],
            exact=record["exact"],
            best_epoch=None,
            parameters=record["parameters"],
            reason=f"its training function returned after epoch {record['epochs_completed']}" if stopped else None,
        )
