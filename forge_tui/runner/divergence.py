"""Records of divergences: a model returns to a checkpoint with a lower learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forge_tui.protocol.events import ModelRetried
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.rollback import Rollback, Saved, roll_back


def goes_further(model: ModelState, saved: Sequence[Saved] | None) -> bool:
    """Whether the model would return to an earlier checkpoint than in its unfinished rollback. `saved`: checkpoints."""
    if model.rollback is None:
        return False
    rollback, _ = _rolled_back(model, saved)
    return rollback.step < model.rollback.step


def rolled_back(retried: ModelRetried, model: ModelState, saved: Sequence[Saved] | None, factor: float) -> ModelRetried:
    """The next attempt at a model that has diverged; `factor` multiplies its learning rate."""
    rollback, place = _rolled_back(model, saved)
    return replace(
        retried,
        from_epoch=place.epoch,
        learning_rate_factor=model.learning_rate_factor * factor,
        rollbacks=model.rollbacks + 1,
        to_step=rollback.step,
        diverged_epoch=rollback.diverged_epoch,
        loss_to_beat=rollback.loss,
    )


def _rolled_back(model: ModelState, saved: Sequence[Saved] | None) -> tuple[Rollback, Saved]:
    # It diverged in the epoch without a finite loss; infinite weights end the next one.
    epoch = model.epoch if model.diverged else model.epoch + 1
    return roll_back(model.rollback, _known(model, saved), epoch=epoch, lowest_loss=model.best_loss)


def _known(model: ModelState, saved: Sequence[Saved] | None) -> Sequence[Saved]:
    """The model's checkpoints; if its worker has not reported them, the newest recorded one."""
    if saved is not None:
        return saved
    return [Saved(model.checkpoint_step, model.checkpoint_epoch)] if model.checkpoint_step else []
