"""Which metrics may decide."""

from __future__ import annotations

from forge_tui.errors import SettingsError
from forge_tui.protocol.metrics import AUTO, CUSTOM, VALIDATION
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.data.task import Task
from forge_tui.training.metrics.measures import NAMES


def require_selectable(training: TrainingConfig, task: Task, *, validates: bool) -> None:
    """Raise `SettingsError` unless `training.select_by` names a metric with a goal that the run measures."""
    if training.select_by == AUTO:
        return
    measured = ["loss"]
    if validates:
        measured += [f"{VALIDATION}{name}" for name in ("loss", *NAMES[task])]
        measured += [CUSTOM] if training.metric != AUTO else []
    if training.select_by not in measured:
        raise SettingsError(
            f"--select-by {named(training.select_by)}: these models are measured by {', '.join(measured)}; "
            "name one of them, or auto"
        )
