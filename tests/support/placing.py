"""A day of a server with GPUs, by script: 40 models of four sizes, 8 GPUs, another user's job, one GPU lost.

The scheduler is the real one; each worker takes, second by second, the memory that its model has. For the test and for
the table of `tests/benchmarks/placement.py`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from gpu_server import GpuServer
from stage import Actor, Stage, machine_state

from forge_tui.protocol.phases import RunState
from forge_tui.resources.policy import GIB

SECONDS = 2.0
"""Between two samples of the machine."""
# GiB that a model really takes with its context, and what is estimated for it, by its size.
SIZES = {1_000_000: (1.2, 0.5), 20_000_000: (4.0, 3.0), 100_000_000: (14.0, 12.0), 500_000_000: (45.0, 30.0)}
TOTALS = (80.0, 80.0, 80.0, 80.0, 40.0, 40.0, 24.0, 24.0)
OTHERS = {2: (31.0, 88.0)}
LOST, LOST_AT = 5, 8.0
_SAMPLES_PER_MODEL = {1_000_000: 4, 20_000_000: 6, 100_000_000: 8, 500_000_000: 12}


@dataclass
class Row:
    """One attempt at a model: where it went, and why. `began`, `ended` in seconds."""

    model: str
    size: int
    gpu: int
    began: float
    reason: str
    ended: float | None = None
    end: str = ""


class Day:
    """Plays the day. `rows`: who went where; `most`: the most GiB in use on each GPU at any time; `holds`: why none
    could start.
    """

    def __init__(self, base: Path) -> None:
        self.server = GpuServer(TOTALS, others=dict(OTHERS))
        self.rows: list[Row] = []
        self.most = [0.0] * len(TOTALS)
        self.holds: list[str] = []
        self.lost: list[str] = []
        self._models = {index: list(SIZES)[(index - 1) // 10] for index in range(1, 41)}
        self.stage = Stage(
            base,
            models=10,
            requested=40,
            resources=machine_state(cpu_count=128, memory_gb=1024.0, available=1000.0, gpus=self.server.figures()),
            rules={"policy": "shared"},
            devices=self.server.uuids,
            device_bytes=_estimate,
            sweep={"training.model_size": list(SIZES)},
        )
        self._now = 0.0
        self._ages: dict[int, int] = {}
        self._open: dict[int, Row] = {}

    def play(self, most_samples: int = 200) -> RunState | None:
        """Let it go by; returns how the run ended."""
        self.stage.engine.pids = lambda worker: frozenset((1_000 + worker.id,))
        with self.stage as stage:
            for _ in range(most_samples):
                self._note_started()
                if stage.state is not None:
                    break
                if self._now == LOST_AT:
                    self.server.problems[LOST] = "has fallen off the bus"
                self._sample()
            events = stage.events()
        self.holds = [one["reason"] for one in events if one["event"] == "decision" and one["kind"] == "hold"]
        self.lost = [one["message"] for one in events if one["event"] == "resource_warning"]
        reasons = [one["reason"] for one in events if one["event"] == "decision" and one["kind"] == "place"]
        for row, reason in zip(self.rows, reasons, strict=True):
            assert reason.startswith(f"{row.model} on ")
            row.reason = reason.partition(": ")[2]
        return stage.state

    def _note_started(self) -> None:
        for actor in self.stage.actors:
            worker = actor.worker
            if worker.id in self._open:
                continue
            assert len(worker.devices) == 1
            row = Row(
                worker.jobs[0].model,
                self._models[actor.index],
                self.server.uuids.index(worker.devices[0]),
                self._now,
                "",
            )
            self._open[worker.id] = row
            self.rows.append(row)

    def _sample(self) -> None:
        """Two seconds: workers grow, train, end; then the machine is looked at."""
        for actor in self.stage.actors:
            self._step(actor)
            if self.stage.state is not None:
                return
        for index in range(len(TOTALS)):
            used = self.server.used(index)
            self.most[index] = max(self.most[index], used)
            assert used <= TOTALS[index], f"GPU {index} has {used} GiB"
        self._now += SECONDS
        self.stage.look(machine_state(cpu_count=128, memory_gb=1024.0, available=1000.0, gpus=self.server.figures()))

    def _step(self, actor: Actor) -> None:
        worker = actor.worker
        age = self._ages[worker.id] = self._ages.get(worker.id, 0) + 1
        size = self._models[actor.index]
        takes, pid = SIZES[size][0], 1_000 + worker.id
        if worker.killed:
            self._ended(actor, "its GPU was lost")
            self.stage.turn(actor.exits(-9))
        elif age == 1:
            self.server.put(pid, worker.devices, 0.4)  # the context, and no tensor yet
            self.stage.turn(*actor.begins())
        elif age < _SAMPLES_PER_MODEL[size]:
            self.server.put(pid, worker.devices, takes)
            reserved = int((takes - 0.4) * GIB) + (600 << 20)
            self.stage.turn(*actor.trains(), actor.says(memory=GIB, shared=0, gpu_memory=reserved))
        else:
            self._ended(actor, "completed")
            self.stage.turn(*actor.completes())

    def _ended(self, actor: Actor, end: str) -> None:
        self.server.put(1_000 + actor.worker.id, actor.worker.devices, 0)
        row = self._open[actor.worker.id]
        row.ended, row.end = self._now, end


def _estimate(kind: Hashable) -> int | None:
    assert isinstance(kind, tuple)
    size = re.search(r"\d+", kind[0])
    assert size is not None
    return int(SIZES[int(size[0])][1] * GIB)
