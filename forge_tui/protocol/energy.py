"""The energy that a run has used, added up over its attempts: part of the run's record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JOULES_PER_KWH = 3_600_000.0
_MOST_JOULES = 1e18
_MOST_GPUS, _LONGEST_WORDS = 4_096, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules of a run so far. What could not be read is unknown, with the reason, and never estimated.

    `packages`: of the machine's CPU packages in all while the run went, `cpu`: the run's share of it by CPU time; both
    None: never read. `gpus`: by UUID, of each GPU as a whole while workers of the run were on it. `cpu_unknown`,
    `gpu_unknown`: why some or all of it is not known. `intensity`: grams of CO2 per kWh, None: not set.
    """

    packages: float | None = None
    cpu: float | None = None
    gpus: dict[str, float] = field(default_factory=dict)
    cpu_unknown: str | None = None
    gpu_unknown: str | None = None
    intensity: float | None = None

    @property
    def joules(self) -> float | None:
        """What is known of the run's energy: its share of the CPUs' and its GPUs'; None: nothing."""
        if self.cpu is None and not self.gpus:
            return None
        return (self.cpu or 0.0) + sum(self.gpus.values())

    @property
    def is_whole(self) -> bool:
        """Whether `joules` is all of it."""
        return self.joules is not None and self.cpu_unknown is None and self.gpu_unknown is None

    @property
    def grams(self) -> float | None:
        """Grams of CO2 of `joules`; None without an intensity."""
        joules = self.joules
        return None if joules is None or self.intensity is None else joules / JOULES_PER_KWH * self.intensity

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict, with `joules`, `is_whole` and `grams`."""
        own = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {**own, "joules": self.joules, "is_whole": self.is_whole, "grams": self.grams}

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> Energy | None:
        """The energy of a run's record, None if it has none. Values that are never written count as unknown."""
        if record is None:
            return None
        gpus = record.get("gpus")
        known = gpus.items() if isinstance(gpus, dict) and len(gpus) <= _MOST_GPUS else ()
        return cls(
            packages=_joules(record.get("packages")),
            cpu=_joules(record.get("cpu")),
            gpus={uuid: joules for uuid, value in known if (joules := _joules(value)) is not None},
            cpu_unknown=_words(record.get("cpu_unknown")),
            gpu_unknown=_words(record.get("gpu_unknown")),
            intensity=_joules(record.get("intensity")),
        )


def _joules(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= _MOST_JOULES else None


def _words(value: Any) -> str | None:
    return value[:_LONGEST_WORDS] if isinstance(value, str) else None
