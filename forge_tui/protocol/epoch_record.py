"""One epoch of a model's history, as in NAME.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forge_tui.protocol.metrics import Metrics, metrics_of, old_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch: its metrics and its seconds."""

    epoch: int
    step: int
    metrics: Metrics
    seconds: float

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict, as in NAME.json."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "metrics": self.metrics,
            "seconds": self.seconds,
            **old_keys(self.metrics),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> EpochRecord:
        """The epoch of a record, also of an earlier version. Raises `KeyError` for missing keys."""
        metrics = metrics_of(record)
        return cls(epoch=record["epoch"], step=record["step"], metrics=metrics, seconds=record["seconds"])
