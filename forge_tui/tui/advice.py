"""The resource rules' advice, with the user's own `[resources]`; for the sidebar and for Configure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import DefaultThresholds, WorkerLimit, worker_limit
from forge_tui.tui.widgets.header import without_counts

NAMES = tuple(field.name for field in dataclasses.fields(DefaultThresholds))


def thresholds_of(values: Mapping[str, Any]) -> DefaultThresholds:
    """The rules with the `values` whose names are in `NAMES`; these must be valid."""
    return DefaultThresholds(**{name: value for name, value in values.items() if name in NAMES})


def limit_of(values: Mapping[str, Any], machine: SystemResources, workers: int, mode: str) -> WorkerLimit:
    """The rules' limit for `workers` on a machine; `values` as in `thresholds_of`."""
    return worker_limit(workers, machine, thresholds_of(values), mode="series" if mode == "series" else "parallel")


def suggestion(values: Mapping[str, Any], machine: SystemResources) -> str:
    """The suggested mode and number of workers, with the reason, for the sidebar."""
    limit = limit_of(values, machine, thresholds_of(values).max_suggested_workers, "parallel")
    mode = "parallel" if limit.workers > 1 else "series"
    return f"{mode}, {limit.workers} worker{'s' if limit.workers > 1 else ''}: {without_counts(limit.reason)}"
