"""The progress of a training function: its epochs by number, as reported, checkpointed and recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.metrics import Metric
from forge_tui.training.history import History
from forge_tui.training.reported_epochs import ReportedEpochs


class TrialProgress(ReportedEpochs):
    """Reported epochs that belong to checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.started = time.time()
        self.exact = True
        self._history = History()

    def take(self, epoch: int, step: int, metrics: Mapping[str, float], seconds: float) -> EpochRecord:
        """As `ReportedEpochs.take`."""
        record = super().take(epoch, step, metrics, seconds)
        newest = self._history[-1].epoch if self._history else 0
        if epoch > newest:
            self._history.append(record)
        elif epoch == newest:  # a loop may report each epoch in parts: made anew, the table would take n² steps
            self._history.replace_last(record)
        else:
            self._history = History(self.history())
        return record

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
