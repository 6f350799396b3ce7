"""A plan as the runner gives it to a front end: ways to carry out a run, with estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Way:
    """One way to carry out a run: `workers` at once, each training `models` together with `threads`."""

    mode: str
    workers: int
    models: int
    threads: int
    compile: bool = False

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; `Way.from_record` reads it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Way:
        """The way of a record; other keys are ignored."""
        workers, models, threads = (int(record[name]) for name in ("workers", "models", "threads"))
        return cls(str(record["mode"]), workers, models, threads, bool(record.get("compile", False)))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that choose it, by their full names."""
        rest = {"resources.threads": self.threads, "training.compile": self.compile}
        if self.mode == "series":
            return {"training.training_mode": "series", **rest}
        parallel = {"training.max_parallel_workers": self.workers, "engine.fuse": self.models}
        return {"training.training_mode": "parallel", **parallel, **rest}

    @property
    def flags(self) -> str:
        """The flags that choose it."""
        compiled = " --compile" if self.compile else ""
        if self.mode == "series":
            return f"--mode series --threads {self.threads}{compiled}"
        return f"--mode parallel --workers {self.workers} --fuse {self.models} --threads {self.threads}{compiled}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A way with its estimates: seconds of the whole run, steps per second of all models, bytes of all workers."""

    way: Way
    seconds: float
    steps_per_second: float
    memory: int

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; `Estimate.from_record` reads it."""
        return {**asdict(self), "flags": self.way.flags}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Estimate:
        """The estimate that `to_record` wrote."""
        rest = {name: record[name] for name in ("seconds", "steps_per_second", "memory")}
        return cls(way=Way.from_record(record["way"]), **rest)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The estimates, best first, the reason, and how many seconds the measurement took.

    `limit`: why no way has more workers, if the rules allow fewer than the run has models. `warning`: what makes all
    ways slow here. `device`: where all of them train, if it can be elsewhere than on the CPU.
    """

    estimates: tuple[Estimate, ...]
    reason: str
    measured_seconds: float
    limit: str = ""
    warning: str = ""
    device: str = ""

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> RunPlan:
        """The plan that `to_record` wrote."""
        estimates = tuple(Estimate.from_record(one) for one in record["estimates"])
        rest = {name: record.get(name, "") for name in ("limit", "warning", "device")}
        return cls(estimates, record["reason"], record["measured_seconds"], **rest)

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        estimates = [one.to_record() for one in self.estimates]
        rest = {"reason": self.reason, "measured_seconds": self.measured_seconds, "limit": self.limit}
        rest |= {"warning": self.warning, "device": self.device}
        return {"estimates": estimates, **rest}

    @property
    def best(self) -> Estimate:
        """The recommended way."""
        return self.estimates[0]
