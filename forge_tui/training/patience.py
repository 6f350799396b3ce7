"""When patience with a model runs out (Prechelt 1998, "Early Stopping - But When?"). No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forge_tui.protocol.metrics import AUTO
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import TrainingConfig


@dataclass(slots=True, kw_only=True, eq=False)
class BestSoFar:
    """A model's best epoch so far: the one with the least `measure` (`MetricTable.measure`).

    `epoch` is 0 until one has a finite measure.
    """

    epoch: int = 0
    measure: float | None = None

    def take(self, epoch: int, measure: float | None, min_delta: float = 0.0) -> bool:
        """Record an epoch; returns whether it is the best so far by more than `min_delta`. NaN is never better."""
        if measure is None or not math.isfinite(measure):
            return False
        if self.measure is not None and measure >= self.measure - min_delta:
            return False
        self.epoch, self.measure = epoch, measure
        return True


def exceeds_patience(patience: int, epoch: int, best_epoch: int) -> bool:
    """Whether a model stops after `epoch`: no better one for `patience` epochs (0: never)."""
    return patience > 0 and epoch - best_epoch >= patience


def why_stopped(training: TrainingConfig, epoch: int, best_epoch: int | None) -> str:
    """Why a model stopped after `epoch`."""
    since = f"not better since epoch {best_epoch}" if best_epoch else "never a finite number"
    what = "loss" if training.select_by == AUTO else named(training.select_by)
    return f"stopped early at epoch {epoch}: its {what} was {since} (training.patience = {training.patience})"
