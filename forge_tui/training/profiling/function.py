"""Measures a training function from outside: the calls of torch and of its trial that every loop makes.

A step is one of any optimizer of torch. Data is what its DataLoaders take; the forward pass and all that is not one of
these calls is `the rest`. A loop without an optimizer of torch cannot be measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter

from forge_tui.protocol.events import CheckpointSaved, Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.protocol.profile import REST, PhaseCost, WorkerProfile
from forge_tui.training.departures import AtRung
from forge_tui.training.model_place import Publish, publish_here
from forge_tui.training.profiling.clock import CpuClock, PhaseClock
from forge_tui.training.profiling.operations import UNTRACED, OperationTrace, Traced
from forge_tui.training.profiling.result import write_result
from forge_tui.training.trial_session import Declare
from forge_tui.training.trial_worker import TrialWorker

_WARM_UP_STEPS, _TIMED_STEPS, _UNTRACED_STEPS, _TRACED_STEPS = 3, 5, 2, 5
_WARM_UP_PART = 0.25
_OF_A_STEP = ("data", "backward", "optimizer")
"""The phases whose operations count: reports and checkpoints are not of every step."""
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class FunctionMeter:
    """Marks the phases of a loop that it is called from, first to warm up, then timed, then traced; then `done` is set.

    Used in the thread of the function. `finish` is called with the result, once.
    """

    def __init__(
        self, device: torch.device, seconds: float, finish: Callable[[FunctionMeter, Traced | None], None]
    ) -> None:
        self._device, self._seconds, self._finish = device, seconds, finish
        self.done = False
        self.steps = 0
        self.clock, self.cpu = PhaseClock(device), CpuClock()
        self.measured: tuple[int, float, float, float | None] | None = None
        """Steps, seconds, CPUs and the share of waiting, once timed."""
        self.trace: OperationTrace | None = None
        self.traced_at = 0
        self._label: Any = None
        self._is_warm = False
        self._all_steps = 0
        self._ends = 0.0

    def begin(self) -> None:
        """The function is called now."""
        self._ends = time.perf_counter() + self._seconds * _WARM_UP_PART
        self.clock.start()

    def enter(self, phase: str) -> None:
        """What is called now is `phase`."""
        if self.done:
            return
        if self.trace is None:
            self.clock.mark(REST)
        else:
            self._leave_label()
            if self._is_traced and phase in _OF_A_STEP and not self.traced_at:
                self.traced_at = time.perf_counter_ns()
            counts = self._is_traced and phase in _OF_A_STEP
            self._label = self.trace.phase(phase if counts else UNTRACED)
            self._label.__enter__()

    def leave(self, phase: str, *, is_step: bool = False) -> None:
        """It has returned. `is_step`: an optimizer's step is done."""
        if self.done:
            return
        if self.trace is None:
            self.clock.mark(phase)
        else:
            self._leave_label()
        if is_step:
            self._after_step()

    def make_room(self) -> None:
        """The function starts a profiler of its own: of two at once the first gets nothing, or the process dies."""
        if self.trace is not None and not self.done:
            self._stop_tracing(counts=False)
            self._give_up()

    def end(self) -> None:
        """The function has returned: what was measured is the result, even if it is less than was wanted."""
        if self.done:
            return
        if self.measured is None and self._is_warm:
            self._measure()
        if self.trace is not None:
            self._stop_tracing(counts=False)
        self.done = True
        if self.measured is not None and self.measured[0]:
            self._finish(self, None)

    @property
    def _is_traced(self) -> bool:
        return self.steps >= _UNTRACED_STEPS

    def _after_step(self) -> None:
        self.steps += 1
        if self.trace is not None:
            if self.steps >= _UNTRACED_STEPS + _TRACED_STEPS:
                traced = self._stop_tracing(counts=True)
                self.done = True
                self._finish(self, traced)
            return
        least = _TIMED_STEPS if self._is_warm else _WARM_UP_STEPS
        if self.steps < least or time.perf_counter() < self._ends:
            return
        if not self._is_warm:
            self._is_warm, self.steps = True, 0
            self._ends = time.perf_counter() + self._seconds * (1.0 - _WARM_UP_PART)
            self.clock, self.cpu = PhaseClock(self._device), CpuClock()
            self.clock.start()
            return
        self._measure()
        self._start_tracing()

    def _give_up(self) -> None:
        """Do without operations."""
        self.done = True
        self._finish(self, None)

    def _measure(self) -> None:
        self.measured = self.steps, self.cpu.seconds, self.cpu.cpus, self.cpu.wait

    def _start_tracing(self) -> None:
        if torch._C._autograd._profiler_enabled():
            self._give_up()
            return
        self.steps = 0
        trace = OperationTrace(self._device)
        trace.start()
        self.trace = trace

    def _leave_label(self) -> None:
        label, self._label = self._label, None
        if label is not None:
            label.__exit__(None, None, None)

    def _stop_tracing(self, *, counts: bool) -> Traced | None:
        assert self.trace is not None
        self._leave_label()
        self.trace.stop()
        if not counts:
            self.trace = None
            return None
        seconds = (time.perf_counter_ns() - self.traced_at) / 1e9
        return self.trace.result(_TRACED_STEPS, seconds, between=REST)


class ProfiledTrialWorker(TrialWorker):
    """A worker of a training function that measures itself; its files are as those of `ProfiledTrainer`."""

    def __init__(
        self,
        job: Job,
        emit: Callable[[Event], None],
        control: Control,
        at_rung: AtRung | None = None,
        declare: Declare | None = None,
        publish: Publish = publish_here,
    ) -> None:
        """As of `TrialWorker`; the job has a `profile`."""
        self._write_seconds: list[float] = []

        def note(event: Event) -> None:
            if isinstance(event, CheckpointSaved):
                self._write_seconds.append(event.seconds)
            emit(event)

        super().__init__(job, note, control, at_rung, declare, publish)
        assert job.profile is not None
        self._meter = FunctionMeter(self._session.device, job.profile, self._write_profile)
        session = self._session
        # The trial calls them on this session only.
        vars(session)["report"] = self._measured("records", session.report)
        vars(session)["checkpoint"] = self._measured("checkpoints", session.checkpoint)

    def run(self) -> Outcome:
        """As of `TrialWorker`; writes what was measured."""
        meter = self._meter
        register_optimizer_step_pre_hook(lambda *_: meter.enter("optimizer"))
        register_optimizer_step_post_hook(lambda *_: meter.leave("optimizer", is_step=True))
        # This process trains nothing else, and ends with it.
        torch.autograd.backward = self._measured("backward", torch.autograd.backward)
        loader = _BaseDataLoaderIter
        loader.__next__ = self._measured("data", loader.__next__)  # type: ignore[method-assign]
        profiler, older = torch.profiler.profile, torch.autograd.profiler.profile
        profiler.start = self._before(profiler.start)  # type: ignore[method-assign]
        older.__enter__ = self._before(older.__enter__)  # type: ignore[method-assign]
        meter.begin()
        try:
            return super().run()
        finally:
            meter.end()

    def _before(self, function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @wraps(function)
        def called(*given: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            self._meter.make_room()
            return function(*given, **named)

        return called

    def _measured(self, phase: str, function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @wraps(function)
        def measured(*given: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            self._meter.enter(phase)
            try:
                return function(*given, **named)
            finally:
                self._meter.leave(phase)

        return measured

    def _write_profile(self, meter: FunctionMeter, traced: Traced | None) -> None:
        assert meter.measured is not None
        steps, seconds, cpus, wait = meter.measured
        job, reports = self._session.job, meter.clock.totals.get("records")
        found = WorkerProfile(
            models=(job.model,),
            device=job.device,
            threads=torch.get_num_threads(),
            batch_size=0,
            steps_per_epoch=max(1, round(steps / reports.times)) if reports is not None else 0,
            checkpoint_interval=0,
            steps=steps,
            seconds=seconds,
            phases=_costs(meter.clock, steps),
            operations=() if traced is None else traced.operations,
            cpus=cpus,
            cpu_wait=wait,
            write_seconds=statistics.median(self._write_seconds) if self._write_seconds else None,
            device_busy=None if traced is None else traced.device_busy,
            is_function=True,
        )
        write_result(Path(job.directory), job.index, found, meter.clock, meter.trace, meter.traced_at)


def _costs(clock: PhaseClock, steps: int) -> tuple[PhaseCost, ...]:
    """Seconds per step of each phase, as they were in the measured part."""
    found = []
    for phase, total in clock.totals.items():
        seconds = total.nanoseconds / 1e9
        every = {"records": "epoch", "checkpoints": "checkpoint"}.get(phase, "step")
        found.append(PhaseCost(phase, seconds / steps, every, seconds / total.times, total.times))  # type: ignore[arg-type]
    return tuple(found)
