"""What a profile measures of one worker: seconds per step by phase, and by kind of operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

REST = "the rest"
"""Of a training function: the forward pass, and all that is not one of the other phases."""
NATIVE_STEP = "native step"
"""Of a model with a native kernel: the order of an epoch, the forward and the backward pass, and the optimizer."""
PHASES = (
    "data", "forward", REST, "backward", "optimizer", NATIVE_STEP, "validation", "records", "checkpoints", "waiting",
)  # fmt: skip
"""In the order of a table. `records`: metrics and reports to the runner; `waiting`: pauses and verdicts."""

DIRECTORY = "profile"
"""In the run directory: `N.json` of the worker whose first model is N, written last, and `N-trace.json`."""

PREFIX = "forge-tui: "
"""Begins the names of phases in torch's trace."""

Every = Literal["step", "epoch", "checkpoint"]


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Seconds of one phase per step; what happens less often is spread over the steps in between.

    `every`: how often it happens, `once`: seconds of one time (the mean), `times`: how often it was measured.
    """

    phase: str
    seconds: float
    every: Every
    once: float
    times: int


@dataclass(frozen=True, slots=True)
class OperationCost:
    """Operations of one name in one phase: calls and seconds per step, without those that they call.

    `device_seconds`: on the GPU; 0 where there is none. Measured by torch's profiler, which slows small operations.
    """

    kind: str
    name: str
    phase: str
    calls: float
    seconds: float
    device_seconds: float


@dataclass(frozen=True, slots=True)
class Doubled:
    """Seconds of forward and backward with the batch size, and with twice as many samples: the shortest of several."""

    batch_size: int
    seconds: float
    doubled_seconds: float

    @property
    def factor(self) -> float:
        """How many times as long twice the samples take: near 1 where the machine is not filled, 2 where it is."""
        return self.doubled_seconds / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProfile:
    """One worker: its models (several: trained together), the conditions, and what was measured.

    `steps` in `seconds` were timed. `cpus`: how many CPUs it kept busy, all its threads together. `cpu_wait`: the share
    of the time in which its training thread was ready and had no CPU (None: the system does not report it).
    `write_seconds`: of a checkpoint's write in the background, which training does not wait for (None: none was seen).
    `device_busy`: the share of the time in which the GPU computed (None: on the CPU). `data_is_stored`: every batch is
    read from the disk. `is_function`: of a training function, whose batch size and checkpoints are its own (0),
    and whose epochs are its reports (0 steps: none was seen).
    """

    models: tuple[str, ...]
    device: str
    threads: int
    batch_size: int
    steps_per_epoch: int
    checkpoint_interval: int
    steps: int
    seconds: float
    phases: tuple[PhaseCost, ...]
    operations: tuple[OperationCost, ...]
    cpus: float
    cpu_wait: float | None = None
    write_seconds: float | None = None
    device_busy: float | None = None
    doubled: Doubled | None = None
    data_is_stored: bool = False
    is_function: bool = False

    @property
    def step_seconds(self) -> float:
        """Seconds of a step with its part of what happens less often."""
        return sum(cost.seconds for cost in self.phases)

    def share(self, phase: str) -> float:
        """A phase's share of the time, 0 to 1."""
        total = self.step_seconds
        return sum(cost.seconds for cost in self.phases if cost.phase == phase) / total if total else 0.0

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; `from_record` reads it."""
        return {**dataclasses.asdict(self), "step_seconds": self.step_seconds}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> WorkerProfile:
        """The profile that `to_record` wrote."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        doubled = values["doubled"]
        return cls(
            **{
                **values,
                "models": tuple(values["models"]),
                "phases": tuple(PhaseCost(**one) for one in values["phases"]),
                "operations": tuple(OperationCost(**one) for one in values["operations"]),
                "doubled": None if doubled is None else Doubled(**doubled),
            }
        )
