"""Records with metrics, written as if each metric were a field: short to write in a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from forge_tui.protocol.metrics import BUILT_IN
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.protocol.snapshot import Snapshot

_NAMES = frozenset(metric.name for metric in BUILT_IN)
_Record = TypeVar("_Record")


def fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those that are metrics gathered in `metrics`."""
    metrics = {**values.get("metrics", {}), **{name: value for name, value in values.items() if name in _NAMES}}
    return {**{name: value for name, value in values.items() if name not in _NAMES}, "metrics": metrics}


def remeasured(record: _Record, **values: Any) -> _Record:
    """A record (an epoch, a model's state) with other values; its other metrics stay."""
    metrics: Mapping[str, Any] = getattr(record, "metrics")  # noqa: B009
    return dataclasses.replace(record, **fields({"metrics": metrics, **values}))  # type: ignore[type-var]


def snapshot_of(models: Iterable[ModelState], state: RunState = RunState.RUNNING, **info: Any) -> Snapshot:
    """A run with these models."""
    found = tuple(models)
    about: dict[str, Any] = {
        "run": "r", "path": "/r", "mode": "series", "policy": "shared", "model_type": "planner", "epochs": 5,
        "created": 1.0,
    }  # fmt: skip
    run = RunInfo(**{**about, "models": len(found), "state": state, **info})
    return Snapshot(run=run, models=found, state=state, revision=1, time=2.0)
