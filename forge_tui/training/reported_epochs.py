"""What a training function or a command has reported of its model: epochs, and which metrics rank it. No torch here."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping

from forge_tui.errors import TrialError
from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.metrics import AUTO, Metric, MetricTable

_RECENT_REPORTS = 20


class ReportedEpochs:
    """`epoch` and `step` are those of the newest report, `reports` their number; `seconds`: training time.

    A repeated report replaces that epoch only.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.step = 0
        self.reports = 0
        self.seconds = 0.0
        self.best_loss: float | None = None
        self.goals: dict[str, Metric] = {}
        self._by_epoch: dict[int, EpochRecord] = {}
        self._recent: deque[float] = deque(maxlen=_RECENT_REPORTS)

    def take(self, epoch: int, step: int, metrics: Mapping[str, float], seconds: float) -> EpochRecord:
        """Add a report of an epoch, which took `seconds`. Numbers that are not finite are unknown, except the loss."""
        self.epoch, self.step = epoch, step
        self.seconds += seconds
        self._recent.append(seconds)
        loss = metrics.get("loss")
        if loss is not None and math.isfinite(loss):
            self.best_loss = loss if self.best_loss is None else min(loss, self.best_loss)
        known = {name: value if name == "loss" or math.isfinite(value) else None for name, value in metrics.items()}
        record = EpochRecord(epoch=epoch, step=step, metrics=known, seconds=seconds)
        self._by_epoch[epoch] = record
        return record

    def begin(self) -> None:
        """Count from now on: what was taken before is of earlier attempts, and belongs to the history."""
        self.epoch = self.step = self.reports = 0
        self._recent.clear()

    def history(self) -> list[EpochRecord]:
        """All epochs, in order."""
        return [self._by_epoch[epoch] for epoch in sorted(self._by_epoch)]

    def seconds_left(self, epochs: int) -> float:
        """The time for the rest of `epochs`, by those reported last."""
        left = epochs - self.epoch
        return left * statistics.median(self._recent) if left > 0 else 0.0

    def declare(self, goals: Iterable[Metric]) -> list[Metric]:
        """Take declarations of metrics; returns those that are new."""
        new = [goal for goal in goals if self.goals.get(goal.name) != goal]
        self.goals |= {goal.name: goal for goal in new}
        return new

    def measure(self, metrics: Mapping[str, float], select_by: str) -> float | None:
        """The value of a report by which the model is ranked (`training.select_by`); None without one."""
        return MetricTable(self.goals.values(), select_by).measure(metrics)


def no_measure(what: str, select_by: str) -> TrialError:
    """The error for a report without the value that `what`, such as halving, compares models by."""
    wanted = "loss or validation_loss" if select_by == AUTO else f"{select_by}, and once its goal"
    return TrialError(f"with {what}, models are compared by what they report: report {wanted} at every epoch")


def no_epoch(example: str) -> TrialError:
    """The error for a report that does not name its epoch, with halving; `example` shows one that does."""
    return TrialError(
        f"with halving, models are compared at the same epoch, so each report has to say which one it is of: {example}"
    )
