"""The scheduler on GPUs under anything in any order: others come and go, GPUs fill up, fail, and take no process."""

from __future__ import annotations

from typing import Any

from gpu_server import GpuServer
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from scheduler_machine import SchedulerMachine
from stage import M, machine_state

from forge_tui.protocol.phases import RunState
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import GIB

WORDS = (
    "ValueError: on purpose",
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "AcceleratorError: CUDA error: uncorrectable ECC error encountered",
    "AcceleratorError: CUDA error: unspecified launch failure",
    "AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
)
TAKES = 9.0
"""GiB that each model really takes: less than is estimated for it, with a margin."""


class GpuSchedulerMachine(SchedulerMachine):
    """Three GPUs, one of them small; whatever can happen without them happens, too."""

    def more(self) -> dict[str, Any]:
        self.server = GpuServer((80.0, 40.0, 24.0))
        self.words = WORDS[0]
        self.had_others = False
        return {
            "resources": self.machine(),
            "devices": self.server.uuids,
            "device_bytes": lambda kind: 8 * GIB,
            "rules": {"policy": "shared"},
        }

    def machine(self, available: float = 60.0, **changes: Any) -> SystemResources:
        if hasattr(self, "stage"):
            self.stage.engine.pids = lambda worker: frozenset((1_000 + worker.id,))
            self.server.present.clear()
            for actor in self.stage.actors:
                if actor.worker.place is not None:
                    self.server.put(1_000 + actor.worker.id, actor.worker.devices, TAKES if actor.epoch else 0.5)
            if not self.had_others:
                for index, total in enumerate(self.server.totals):
                    assert self.server.used(index) <= total
        return machine_state(available, cpu_count=64, gpus=self.server.figures(), **changes)

    def words_of(self, kind: str) -> str:
        return self.words

    @precondition(lambda self: self.lives)
    @rule(words=st.sampled_from(WORDS))
    def failures_have_other_words(self, words: str) -> None:
        self.words = words

    @precondition(lambda self: self.lives)
    @rule(index=st.integers(0, 2), gib=st.sampled_from([0.0, 12.0, 23.0]))
    def others_take_a_gpu(self, index: int, gib: float) -> None:
        self.server.others[index] = (gib, 90.0 if gib else 0.0)
        self.had_others = True
        self.stage.look(self.machine())

    @precondition(lambda self: self.lives)
    @rule(index=st.integers(0, 2), chance=st.integers(0, 3), is_gone=st.booleans())
    def a_gpu_fails(self, index: int, chance: int, is_gone: bool) -> None:
        if chance:
            return
        if is_gone:
            self.server.gone.add(index)
        else:
            self.server.problems[index] = "has fallen off the bus"
        self.stage.look(self.machine())
        broken = self.server.uuids[index]
        if len(self.server.gone) < len(self.server.totals):  # without any figures nothing is known
            assert all(
                actor.worker.killed or actor.worker.place is None
                for actor in self.stage.actors
                if broken in actor.worker.devices
            )

    @invariant()
    def each_worker_has_one_gpu_that_is_not_lost_and_no_failure_of_a_gpu_counts(self) -> None:
        if not hasattr(self, "stage"):
            return
        for actor in self.stage.actors:
            assert len(actor.worker.devices) == 1
        if self.stage.journal.info.state is not RunState.RUNNING:
            return  # what fails while the run ends is tried again when it is resumed
        for model in self.stage.journal.models.values():
            if model.phase is M.FAILED:
                assert model.failures[-1].kind != "device_lost"

    def come_to_the_end(self) -> None:
        self.server.others.clear()
        super().come_to_the_end()


TestSchedulerOnGpus = GpuSchedulerMachine.TestCase
TestSchedulerOnGpus.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
