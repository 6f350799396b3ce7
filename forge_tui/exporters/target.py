"""What an exporter does: one class per tool."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from forge_tui.protocol.metrics import TEST
from forge_tui.protocol.phases import TrainingPhase

if TYPE_CHECKING:
    from forge_tui.exporters.courses import Mark
    from forge_tui.protocol.events import EpochFinished
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot


class Target(Protocol):
    """An output that can be written again and again: it remembers by itself what it has.

    Every method may raise `ForgeError`.
    """

    @property
    def place(self) -> str:
        """Where the output is: a path, or a URI."""

    @property
    def hint(self) -> str:
        """A sentence on how to look at it."""

    def marks(self, model: ModelState) -> Collection[Mark]:
        """The epochs that it has of a model, or only the one that was trained last."""

    def can_add(self, model: ModelState) -> bool:
        """Whether epochs can be added behind those that it has; if not they are all given again."""

    def add(self, model: ModelState, epochs: Sequence[EpochFinished], last: Mark) -> None:
        """Add epochs behind those that it has, in ascending order; `last` was trained last."""

    def replace(self, model: ModelState, first: int, history: Sequence[EpochFinished], last: Mark) -> None:
        """Make `history` the model's epochs; those before number `first` are there already."""

    def describe(self, snapshot: Snapshot, models: Sequence[ModelState]) -> None:
        """Make visible what a pass has written, and write the state of the run and of models that have changed."""

    def close(self) -> None:
        """Let go of the output; it can be continued by another process."""


def final_values(snapshot: Snapshot, model: ModelState) -> dict[str, float]:
    """What was measured on the test split when a model was completed; not what its epochs have recorded, too."""
    if model.phase is not TrainingPhase.COMPLETED:
        return {}
    of_epochs = {record.get("name") for record in snapshot.run.metrics}
    return {
        name: value
        for name, value in model.metrics.items()
        if name.startswith(TEST) and name not in of_epochs and value is not None
    }


def values_of(epoch: EpochFinished) -> dict[str, float | None]:
    """Everything that was measured in an epoch, by name."""
    return {"best_loss": epoch.best_loss, "seconds": epoch.seconds, **epoch.metrics}
