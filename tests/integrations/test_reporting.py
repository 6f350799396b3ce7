"""The names of metrics that frameworks report."""

from __future__ import annotations

import pytest

from forge_tui.integrations.reporting import renamed


@pytest.mark.parametrize(
    ("metrics", "names", "found"),
    [
        ({"train_loss": 1, "val_loss": 2, "val_acc": 3, "f1": 4}, None,
         {"loss": 1, "validation_loss": 2, "validation_accuracy": 3, "f1": 4}),
        ({"eval_loss": 1, "eval_accuracy": 2}, None, {"validation_loss": 1, "validation_accuracy": 2}),
        ({"val_acc": 97}, {"val_acc": "percent"}, {"percent": 97}),
        ({"error": 1, "train_loss": 2}, {"error": "loss"}, {"loss": 1, "train_loss": 2}),
        ({"train_loss": 1, "loss": 2}, None, {"train_loss": 1, "loss": 2}),
    ],
)  # fmt: skip
def test_the_usual_names_have_their_meaning(
    metrics: dict[str, float], names: dict[str, str] | None, found: dict[str, float]
) -> None:
    assert renamed(metrics, names) == found
