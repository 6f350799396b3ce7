"""Reports what a framework has measured, under the names that its metrics have in forge-tui."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from forge_tui.training.trial import Trial

Goal = Mapping[str, Literal["higher", "lower"]]

USUAL = {
    "train_loss": "loss",
    "train_loss_epoch": "loss",
    "val_loss": "validation_loss",
    "val_acc": "validation_accuracy",
    "val_accuracy": "validation_accuracy",
    "eval_loss": "validation_loss",
    "eval_accuracy": "validation_accuracy",
}
"""What the usual names mean here; others stay as they are."""


def renamed(metrics: Mapping[str, Any], names: Mapping[str, str] | None) -> dict[str, Any]:
    """`metrics` under their names here: those of `names`, then the usual ones.

    A metric keeps its name if another one has the usual name already.
    """
    chosen = dict(names or {})
    found = {chosen[name]: value for name, value in metrics.items() if name in chosen}
    for name, value in metrics.items():
        if name not in chosen:
            usual = USUAL.get(name, name)
            found[name if usual in found or usual in metrics else usual] = value
    return found


def report(
    trial: Trial, metrics: Mapping[str, Any], *, names: Mapping[str, str] | None, goal: Goal | None, epoch: int,
    step: int, saves: bool,
) -> None:  # fmt: skip
    """As `Trial.report`. `saves`: a checkpoint of the epoch follows at once, and a stop waits for it.

    Otherwise a stop that came long before the end of the epoch would lose it.
    """
    trial._session.report(renamed(metrics, names), {}, epoch=epoch, step=step, goal=goal, saves=saves)
