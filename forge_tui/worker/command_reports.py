"""What a command reports: read from its file of reports or its output, checked, and passed on as epochs."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from forge_tui.errors import TrialError
from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.job import Job, rung_passed
from forge_tui.protocol.metrics import MOST_METRICS
from forge_tui.protocol.reported import checked_goals, plain_metrics, whole
from forge_tui.protocol.trial_channel import EPOCH, GOAL, STEP
from forge_tui.safe_io.printing import printable, shortened
from forge_tui.settings.command import NOT_METRICS
from forge_tui.settings.schema import Settings
from forge_tui.training.patience import BestSoFar, exceeds_patience, why_stopped
from forge_tui.training.reported_epochs import ReportedEpochs, no_epoch, no_measure
from forge_tui.training.reporter import Reporter

_SHOWN = 200
_MOST_WARNINGS = 5
"""Of bad lines; a program that writes only such would fill the run's record."""


class CommandReports:
    """The reports of one attempt. `diverged`: a loss was NaN or infinite, in words.

    Reports that come after the end (`must_end`) are not taken.
    """

    def __init__(
        self,
        job: Job,
        settings: Settings,
        report: Reporter,
        *,
        declare: Callable[[list[dict[str, Any]]], None],
        at_rung: Callable[[int, float], None],
        record: Callable[[dict[str, Any]], None],
    ) -> None:
        """`declare` gets declarations of metrics, `at_rung` the epoch of a rung and the measure there, and `record`
        reports that output has: they come back as lines of the file of reports.
        """
        self._job, self._settings, self._report = job, settings, report
        self._declare, self._at_rung, self._record = declare, at_rung, record
        self.epochs = settings.training.epochs
        self.progress = ReportedEpochs()
        """All epochs; its numbers are of this attempt."""
        self.best = BestSoFar()
        self.failure: TrialError | None = None
        """A report that fails the model: another attempt would make it again."""
        self.diverged: str | None = None
        self.stopped_early: str | None = None
        self._names: set[str] = set()
        self._judged = 0
        self._warnings = 0
        self._since, self._paused = time.perf_counter(), 0.0

    @property
    def must_end(self) -> bool:
        """Whether a report was the last one that the model may make."""
        return self.failure is not None or self.diverged is not None or self.stopped_early is not None

    def begin(self) -> None:
        """Start counting, and the clock: what is taken from now on is of this attempt."""
        self.progress.begin()
        self._since, self._paused = time.perf_counter(), 0.0

    def held(self, seconds: float) -> None:
        """Do not count this time: the command was stopped."""
        self._paused += seconds

    # --- where reports come from

    def earlier_line(self, line: bytes) -> None:
        """Take a line of an earlier attempt's file: its epochs are recorded already, and belong to the history."""
        with contextlib.suppress(TrialError):
            self.progress.take(*self._checked(_object(line)), seconds=0.0)

    def line(self, line: bytes) -> None:
        """Take a line of the file of reports. A bad one is reported, and left out."""
        if not line.strip() or self.must_end:
            return
        try:
            self._take(_object(line))
        except TrialError as error:
            self._warn(line, error)

    def json_output(self, line: bytes) -> None:
        """Take a line of stdout: a JSON object with numbers is a report; what else is in it is left out."""
        if self.must_end or not line.lstrip().startswith(b"{"):
            return
        try:
            found = _object(line)
        except TrialError:
            return
        numbers = {
            name: value
            for name, value in found.items()
            if name in (EPOCH, STEP, GOAL) or (isinstance(value, int | float) and not isinstance(value, bool))
        }
        if not numbers.keys() <= {EPOCH, STEP, GOAL}:
            self._record(numbers)

    def matched_by(self, pattern: re.Pattern[str]) -> Callable[[bytes], None]:
        """Takes a line of output: one that the pattern matches is a report."""

        def take(line: bytes) -> None:
            found = None if self.must_end else pattern.search(line.decode(errors="replace"))
            if found is None:
                return
            groups = found.groupdict().items()
            try:
                self._record({name: _number(name, text) for name, text in groups if text is not None})
            except TrialError as error:
                self._warn(line, error)

        return take

    # --- what is done with them

    def _take(self, given: Mapping[str, Any]) -> None:
        """Pass on a report. Raises `TrialError` for one that is invalid."""
        goals = checked_goals(given.get(GOAL))
        if given.get(EPOCH) is None and self._settings.run.halving is not None:
            self.failure = no_epoch('{"epoch": 3, "loss": 0.5}')
            return
        epoch, step, found = self._checked(given)
        if new := self.progress.declare(goals):
            self._declare([goal.to_record() for goal in new])
        self._report_epoch(self.progress.take(epoch, step, found, self._pass_time()))
        self._judge(epoch, found)

    def _checked(self, given: Mapping[str, Any]) -> tuple[int, int, dict[str, float]]:
        """Epoch, step and metrics of a report. Raises `TrialError`."""
        metrics = {name: value for name, value in given.items() if name not in (EPOCH, STEP, GOAL)}
        missing = [name for name, value in metrics.items() if value is None]
        found: dict[str, float] = plain_metrics({name: metrics[name] for name in metrics if name not in missing})
        found |= dict.fromkeys(missing, math.nan)  # other languages write null for it
        if len(self._names | found.keys()) > MOST_METRICS:
            raise TrialError(f"more than {MOST_METRICS} different metrics are reported")
        epoch, step, number = given.get(EPOCH), given.get(STEP), self.progress.reports + 1
        epoch = number if epoch is None else whole(epoch, EPOCH, 1)
        step = self.progress.step if step is None else whole(step, STEP, 0)
        self.progress.reports, self._names = number, self._names | found.keys()
        return epoch, step, found

    def _report_epoch(self, record: EpochRecord) -> None:
        self._report.epoch(
            record,
            epochs=None if self.epochs is None else max(self.epochs, record.epoch),
            best_loss=self.progress.best_loss,
            eta_seconds=None if self.epochs is None else self.progress.seconds_left(self.epochs),
        )

    def _pass_time(self) -> float:
        """Seconds since the last report, without pauses."""
        now = time.perf_counter()
        seconds = max(0.0, now - self._since - self._paused)
        self._since, self._paused = now, 0.0
        return seconds

    def _judge(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Whether it diverged, has reached a rung, or does not get better."""
        loss = metrics.get("loss")
        if loss is not None and not math.isfinite(loss):
            self.diverged = f"the loss of epoch {epoch} is {loss}"
            return
        training = self._settings.training
        measure = self.progress.measure(metrics, training.select_by)
        if training.patience:
            if measure is None:
                self.failure = no_measure("patience", training.select_by)
            self.best.take(epoch, measure, training.min_delta)
            if exceeds_patience(training.patience, epoch, self.best.epoch):
                self.stopped_early = why_stopped(training, epoch, self.best.epoch)
                return
        rung = rung_passed(self._job.rungs, self._judged, epoch)
        if rung is None:
            return
        self._judged = epoch
        if measure is None:
            self.failure = no_measure("halving", training.select_by)
        else:
            self._at_rung(rung, measure)

    def _warn(self, line: bytes, error: TrialError) -> None:
        """Report a line that is no report, the first few times."""
        self._warnings += 1
        if self._warnings <= _MOST_WARNINGS:
            shown = shortened(printable(line.decode(errors="replace")), _SHOWN)
            more = "; further ones are left out without a word" if self._warnings == _MOST_WARNINGS else ""
            self._report.warn("report", f"{self._job.model}: a report was left out: {error}, in: {shown}{more}")


def _object(line: bytes) -> dict[str, Any]:
    """The JSON object in a line; NaN and infinities as Python writes them are numbers. Raises `TrialError`."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TrialError(f"it is no JSON object ({error})") from None
    if not isinstance(found, dict):
        raise TrialError("it is no JSON object")
    return found


def _number(name: str, text: str) -> float | int:
    """The number that a group of the pattern has matched. Raises `TrialError`."""
    try:
        return int(text) if name in NOT_METRICS else float(text)
    except ValueError:
        raise TrialError(f"{name} is no number") from None
