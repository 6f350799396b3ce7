"""Early stopping: which of a model's epochs was its best, the weights it had then, and when that is too long ago
(Prechelt 1998, "Early Stopping - But When?")."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from forge_tui.training.module_state import NOTHING, ModuleState


@dataclass(slots=True, kw_only=True, eq=False)
class BestEpoch:
    """A model's best epoch so far: that with the least `measure`, the validation loss or, without one, the loss.

    `epoch` is 0 until one has a finite measure. `weights` and `module` are what the finished model's files would hold
    of it, kept only where early stopping is on.
    """

    epoch: int = 0
    measure: float | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    module: ModuleState = NOTHING

    def take(self, epoch: int, measure: float) -> bool:
        """Whether the newest epoch is better than all before it; NaN is no better than anything."""
        if not math.isfinite(measure) or (self.measure is not None and measure >= self.measure):
            return False
        self.epoch, self.measure = epoch, measure
        return True


def has_run_out(patience: int, epoch: int, best_epoch: int) -> bool:
    """Whether a model stops after `epoch`: nothing was better for `patience` epochs (0: it never stops for that)."""
    return patience > 0 and epoch - best_epoch >= patience


def why_stopped(patience: int, epoch: int, best_epoch: int | None) -> str:
    """Why a model stopped after `epoch`."""
    since = f"not better since epoch {best_epoch}" if best_epoch else "never a finite number"
    return f"stopped early at epoch {epoch}: its loss was {since} (training.patience = {patience})"
