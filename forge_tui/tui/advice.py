"""The resource rules' advice, with the user's own `[resources]`; for the sidebar and for Configure."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from forge_tui.resources import advice
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import DefaultThresholds, WorkerLimit, worker_limit

NAMES = tuple(field.name for field in dataclasses.fields(DefaultThresholds))


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a run: thresholds, and whether it trains with torch (a command need not)."""

    thresholds: DefaultThresholds = dataclasses.field(default_factory=DefaultThresholds)
    trains_with_torch: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Any], *, trains_with_torch: bool = True) -> Rules:
        """With the `values` whose names are in `NAMES`; these must be valid."""
        given = {name: value for name, value in values.items() if name in NAMES}
        return cls(DefaultThresholds(**given), trains_with_torch)

    def devices(self, machine: SystemResources) -> advice.DevicesHere:
        """The devices that the run would have on a machine."""
        torch = self.trains_with_torch
        return advice.devices_here(machine, self.thresholds, os.environ, trains_with_torch=torch)

    def limit(self, machine: SystemResources, workers: int, mode: str) -> WorkerLimit:
        """The limit for so many workers."""
        kind = "series" if mode == "series" else "parallel"
        return worker_limit(workers, machine, self.thresholds, mode=kind, on=self.devices(machine).on)

    def suggestion(self, machine: SystemResources) -> str:
        """The suggested mode and number of workers, with the reason, for the sidebar."""
        found = advice.suggestion(machine, self.thresholds, self.devices(machine))
        return f"{found.mode}, {found.workers} worker{'s' if found.workers > 1 else ''}: {found.reason}"
