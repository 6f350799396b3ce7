"""The progress of a training function: its epochs by number, as reported, checkpointed and recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.metrics import Metric, Metrics
from forge_tui.training.history import History


class TrialProgress:
    """`epoch` and `step` are those of the newest report, `reports` their number; `seconds`: training time.

    A repeated report replaces that epoch only.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.step = 0
        self.reports = 0
        self.seconds = 0.0
        self.best_loss: float | None = None
        self.started = time.time()
        self.exact = True
        self.goals: dict[str, Metric] = {}
        self._history = History()
        self._by_epoch: dict[int, EpochRecord] = {}

    def take(self, epoch: int, step: int, metrics: Metrics, seconds: float) -> EpochRecord:
        """Add a report of an epoch, which took `seconds`."""
        self.epoch, self.step = epoch, step
        self.seconds += seconds
        loss = metrics.get("loss")
        if loss is not None and math.isfinite(loss):
            self.best_loss = loss if self.best_loss is None else min(loss, self.best_loss)
        record = EpochRecord(epoch=epoch, step=step, metrics=metrics, seconds=seconds)
        newest = self._history[-1].epoch if self._history else 0
        self._by_epoch[epoch] = record
        if epoch > newest:
            self._history.append(record)
        elif epoch == newest:  # a loop may report each epoch in parts: made anew, the table would take n² steps
            self._history.replace_last(record)
        else:
            self._history = History(self.history())
        return record

    def history(self) -> list[EpochRecord]:
        """All epochs, in order."""
        return [self._by_epoch[epoch] for epoch in sorted(self._by_epoch)]

    def names(self) -> set[str]:
        """The metrics that any epoch has."""
        return set(self._history.names)

    def to_record(self) -> dict[str, Any]:
        """Its part of a checkpoint's record, JSON-able; `tensors` has the rest."""
        return {
            "reported": self.epoch,
            "reported_step": self.step,
            "reports": self.reports,
            "seconds": self.seconds,
            "best_loss": self.best_loss,
            "started": self.started,
            "exact": self.exact,
            "goals": {name: metric.goal for name, metric in self.goals.items()},
            "metrics": self._history.names,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The epochs, as a table."""
        return {"epochs/history": self._history.to_tensor()}

    @classmethod
    def from_checkpoint(cls, record: Mapping[str, Any], history: Tensor) -> TrialProgress:
        """The progress that `to_record` and `tensors` gave. Raises `KeyError` or `TypeError` for anything else."""
        found = cls()
        found.epoch, found.step, found.reports = record["reported"], record["reported_step"], record["reports"]
        found.seconds, found.best_loss = record["seconds"], record["best_loss"]
        found.started, found.exact = record["started"], record["exact"]
        found.goals = {
            name: Metric(name=name, title=name, short=name, goal=goal) for name, goal in record["goals"].items()
        }
        found._history = History.from_tensor(history, record["metrics"])
        found._by_epoch = {one.epoch: one for one in found._history}
        return found
