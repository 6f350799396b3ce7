"""Early stopping: a model's best epoch and its weights then."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from forge_tui.training.module_state import NOTHING, ModuleState
from forge_tui.training.patience import BestSoFar


@dataclass(slots=True, kw_only=True, eq=False)
class BestEpoch(BestSoFar):
    """A model's best epoch so far. `weights` and `module` are the content for the finished model's files, kept only
    with early stopping.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    module: ModuleState = NOTHING
