"""A trainer that measures itself: it trains for real, and writes where the time went.

It cuts epochs short, so that each end of one (validation, records, a checkpoint) is measured within seconds also where
an epoch takes hours; a cost per epoch is then divided by the steps of a whole one. Its models are not to be kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from pathlib import Path

import torch
from torch import Tensor

from forge_tui.protocol.events import CheckpointSaved, Event
from forge_tui.protocol.job import Control, Job
from forge_tui.protocol.metrics import Metrics
from forge_tui.protocol.profile import NATIVE_STEP, Doubled, Every, PhaseCost, WorkerProfile
from forge_tui.training.departures import AtRung
from forge_tui.training.failures import is_out_of_memory
from forge_tui.training.group_state import GroupState
from forge_tui.training.kernel_choice import NATIVE
from forge_tui.training.members import Left
from forge_tui.training.model_place import Publish, publish_here
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.process import synchronize
from forge_tui.training.profiling.clock import CpuClock, PhaseClock
from forge_tui.training.profiling.operations import UNTRACED, OperationTrace, Traced
from forge_tui.training.profiling.result import write_result
from forge_tui.training.state import TrainingState
from forge_tui.training.trainer import Trainer

_WARM_UP_STEPS, _TIMED_STEPS, _UNTRACED_STEPS, _TRACED_STEPS = 3, 5, 2, 5
_WARM_UP_PART = 0.25
_DOUBLED_PART, _LEAST_REPEATS = 0.1, 5
_ORDER = "data of an epoch"
"""The first batch of an epoch, with the order of all."""


class Stage(Enum):
    """What the trainer does: warm up, time phases, trace operations, or train as any other until it is stopped."""

    WARM_UP = auto()
    TIMED = auto()
    TRACED = auto()
    DONE = auto()


class ProfiledTrainer(Trainer):
    """Measures for about `Job.profile` seconds, then trains on: the other workers are measured beside a busy one.

    The result goes to `N.json` and `N-trace.json` in `protocol.profile.DIRECTORY` of the run directory.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        emit: Callable[[Event], None],
        control: Control,
        left: Left | None = None,
        at_rung: AtRung | None = None,
        publish: Publish = publish_here,
    ) -> None:
        """As of `Trainer`; the jobs have a `profile`."""

        def note(event: Event) -> None:
            if isinstance(event, CheckpointSaved):
                self._write_seconds.append(event.seconds)
            emit(event)

        super().__init__(jobs, note, control, left, at_rung, publish)
        assert jobs[0].profile is not None
        self._jobs, self._profile_seconds = tuple(jobs), jobs[0].profile
        self._write_seconds: list[float] = []
        self._begin(Stage.WARM_UP)
        self._measured: tuple[PhaseClock, int, CpuClock] | None = None

    def _begin(self, stage: Stage) -> None:
        self._stage = stage
        self._clock, self._cpu = PhaseClock(self._device), CpuClock()
        self._steps = 0
        part = _WARM_UP_PART if stage is Stage.WARM_UP else 1.0 - _WARM_UP_PART
        self._least = _WARM_UP_STEPS if stage is Stage.WARM_UP else _TIMED_STEPS
        self._ends = time.perf_counter() + self._profile_seconds * part

    @property
    def _is_over(self) -> bool:
        """Whether the stage has had its steps and its time."""
        return self._steps >= self._least and time.perf_counter() >= self._ends

    def _train_epoch(self, state: TrainingState, data: PlacedData) -> bool:
        match self._stage:
            case Stage.WARM_UP | Stage.TIMED if state.kernel == NATIVE:
                return self._native_steps(state, data)
            case Stage.TRACED if state.kernel == NATIVE:
                self._write_untraced(data)
                return super()._train_epoch(state, data)
            case Stage.WARM_UP | Stage.TIMED:
                return self._timed_steps(state, data)
            case Stage.TRACED:
                return self._traced_steps(state, data)
            case Stage.DONE:
                return super()._train_epoch(state, data)

    def _timed_steps(self, state: TrainingState, data: PlacedData) -> bool:
        """As `Trainer._train_epoch`, with a mark after each phase; ends early when the stage is over."""
        clock, begun, first, continues = self._clock, time.perf_counter(), True, True
        batches = iter(state.batches(data, [member.job.seed for member in self._members]))
        clock.start()
        while not self._is_over:
            batch = next(batches, None)
            clock.mark(_ORDER if first else "data")
            first = False
            if batch is None:
                break
            if self._stage is Stage.WARM_UP and not self._steps:
                self._compile_last(state, data, batch)
            continues = self._control.may_continue()
            clock.mark("waiting")
            if not continues:
                break
            loss = state.loss(data, *batch)
            clock.mark("forward")
            loss.backward()
            clock.mark("backward")
            state.update()
            clock.mark("optimizer")
            self._steps += 1
        spent = time.perf_counter() - begun
        state.epoch_seconds += spent
        state.seconds += spent
        return continues

    def _native_steps(self, state: TrainingState, data: PlacedData) -> bool:
        """As `_timed_steps`: such steps have no phases."""
        before, continues = self._steps, True

        def may_continue() -> bool:
            nonlocal continues
            if self._is_over:
                return False
            continues = self._control.may_continue()
            self._steps += continues
            return continues

        begun = time.perf_counter()
        self._clock.start()
        state.train_epoch(data, [member.job.seed for member in self._members], may_continue)
        self._clock.mark(NATIVE_STEP, times=self._steps - before)
        spent = time.perf_counter() - begun
        state.epoch_seconds += spent
        state.seconds += spent
        return continues

    def _compile_last(self, state: TrainingState, data: PlacedData, batch: tuple[Tensor, Tensor]) -> None:
        """Compile for the last batch of an epoch, too, if it is shorter: that takes as long as thousands of steps."""
        size = self._settings.training.batch_size
        rest = data.batches.samples % size
        if not self._settings.training.compile or not rest or data.batches.samples < size:
            return
        axis = 1 if isinstance(state, GroupState) else 0
        inputs, targets = (part.narrow(axis, 0, rest) for part in batch)
        state.loss(data, inputs, targets).backward()
        for parameter in state.parameters:
            parameter.grad = None

    def _finish_epoch(self, state: TrainingState, data: PlacedData) -> None:
        self._clock.start()
        super()._finish_epoch(state, data)
        self._clock.mark("records")

    def _validate(self, state: TrainingState, data: PlacedData) -> list[Metrics]:
        self._clock.mark("records", times=0)
        measured = super()._validate(state, data)
        self._clock.mark("validation")
        return measured

    def _is_due(self, state: TrainingState) -> bool:
        is_stage_over = self._stage in (Stage.WARM_UP, Stage.TIMED) and self._is_over
        return is_stage_over or super()._is_due(state)

    def _checkpoint(self, state: TrainingState) -> None:
        self._clock.start()
        super()._checkpoint(state)
        self._clock.mark("checkpoints")
        if self._stage is Stage.WARM_UP and self._is_over:
            self._begin(Stage.TIMED)
        elif self._stage is Stage.TIMED and self._is_over:
            self._measured = self._clock, self._steps, self._cpu
            self._stage = Stage.TRACED

    # --- operations

    def _traced_steps(self, state: TrainingState, data: PlacedData) -> bool:
        """A few steps under torch's profiler, then the result."""
        assert self._measured is not None
        clock, steps, cpu = self._measured
        seconds, cpus, wait = cpu.seconds, cpu.cpus, cpu.wait
        trace, traced, traced_at, begun = OperationTrace(self._device), 0, 0, 0.0
        source = self._batches_again(state, data)
        largest = next(source)
        with trace.running():
            for number in range(_UNTRACED_STEPS + _TRACED_STEPS):
                if not self._control.may_continue():
                    break
                if number < _UNTRACED_STEPS:  # the profiler's own first ones, which take many times as long
                    with trace.phase(UNTRACED):
                        state.loss(data, *next(source)).backward()
                        state.update()
                    continue
                if not traced:
                    synchronize(self._device)
                    begun, traced_at = time.perf_counter(), time.perf_counter_ns()
                with trace.phase("data"):
                    batch = next(source)
                with trace.phase("forward"):
                    loss = state.loss(data, *batch)
                with trace.phase("backward"):
                    loss.backward()
                with trace.phase("optimizer"):
                    state.update()
                traced += 1
            synchronize(self._device)
        if traced:
            result = trace.result(traced, time.perf_counter() - begun)
            doubled = self._doubled(state, data, largest)
            found = self._profile(data, clock, (steps, seconds, cpus, wait), result, doubled)
            write_result(Path(self._jobs[0].directory), self._jobs[0].index, found, clock, trace, traced_at)
        self._stage = Stage.DONE
        return traced > 0

    def _write_untraced(self, data: PlacedData) -> None:
        """The result of native steps: torch's profiler sees nothing of them."""
        assert self._measured is not None
        clock, steps, cpu = self._measured
        window = steps, cpu.seconds, cpu.cpus, cpu.wait
        found = self._profile(data, clock, window, Traced((), None), None)
        write_result(Path(self._jobs[0].directory), self._jobs[0].index, found, clock, None, time.perf_counter_ns())
        self._stage = Stage.DONE

    def _batches_again(self, state: TrainingState, data: PlacedData) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the epoch, again and again: an epoch may have fewer than are traced."""
        while True:
            state.step_in_epoch = 0
            yield from state.batches(data, [member.job.seed for member in self._members])

    def _doubled(self, state: TrainingState, data: PlacedData, batch: tuple[Tensor, Tensor]) -> Doubled | None:
        """Forward and backward with a batch, and with one of twice as many samples.

        None if that does not fit, and for a compiled model, which would be compiled again.
        """
        if self._settings.training.compile:
            return None
        axis = 1 if isinstance(state, GroupState) else 0
        twice = tuple(torch.cat([part, part], dim=axis) for part in batch)
        found: dict[int, list[float]] = {1: [], 2: []}
        ends = time.perf_counter() + self._profile_seconds * _DOUBLED_PART
        try:
            while len(found[2]) <= _LEAST_REPEATS or time.perf_counter() < ends:
                for factor, (inputs, targets) in ((1, batch), (2, twice)):
                    begun = self._now()
                    state.loss(data, inputs, targets).backward()
                    found[factor].append(self._now() - begun)
                    for parameter in state.parameters:
                        parameter.grad = None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        once, both = (min(found[factor][1:]) for factor in (1, 2))  # the first ones warm up
        return Doubled(batch[0].shape[axis], once, both)

    def _now(self) -> float:
        """Seconds that count: of one thread on a CPU its CPU time, so that others' work does not; else the clock's."""
        if self._device.type == "cpu" and torch.get_num_threads() == 1:
            return time.thread_time()
        synchronize(self._device)
        return time.perf_counter()

    # --- the result

    def _profile(
        self,
        data: PlacedData,
        clock: PhaseClock,
        window: tuple[int, float, float, float | None],
        traced: Traced,
        doubled: Doubled | None,
    ) -> WorkerProfile:
        steps, seconds, cpus, wait = window
        training = self._settings.training
        return WorkerProfile(
            models=tuple(job.model for job in self._jobs),
            device=self._jobs[0].device,
            threads=torch.get_num_threads(),
            batch_size=min(training.batch_size, data.batches.samples),
            steps_per_epoch=data.batches.steps,
            checkpoint_interval=training.checkpoint_interval,
            steps=steps,
            seconds=seconds,
            phases=phase_costs(clock, steps, data.batches.steps, training.checkpoint_interval),
            operations=traced.operations,
            cpus=cpus,
            cpu_wait=wait,
            write_seconds=statistics.median(self._write_seconds) if self._write_seconds else None,
            device_busy=traced.device_busy,
            doubled=doubled,
            data_is_stored=data.batches.is_stored,
        )


def phase_costs(clock: PhaseClock, steps: int, steps_per_epoch: int, checkpoint_interval: int) -> tuple[PhaseCost, ...]:
    """Seconds per step of each measured phase; what an epoch or a checkpoint costs is spread over its steps."""
    spread: dict[str, tuple[str, Every, int]] = {
        _ORDER: ("data", "epoch", steps_per_epoch),
        "data": ("data", "step", 1),
        "forward": ("forward", "step", 1),
        "backward": ("backward", "step", 1),
        "optimizer": ("optimizer", "step", 1),
        NATIVE_STEP: (NATIVE_STEP, "step", 1),
        "validation": ("validation", "epoch", steps_per_epoch),
        "records": ("records", "epoch", steps_per_epoch),
        "checkpoints": ("checkpoints", "checkpoint", steps_per_epoch * checkpoint_interval),
        "waiting": ("waiting", "step", 1),
    }
    found = []
    for mark, (phase, every, between) in spread.items():
        total = clock.totals.get(mark)
        if total is None or not total.times:
            continue
        seconds = total.nanoseconds / 1e9
        # A step's phases are not marked as often as there are steps: an epoch's first batch has a mark of its own.
        per_step = seconds / steps if every == "step" else seconds / total.times / between
        found.append(PhaseCost(phase, per_step, every, seconds / total.times, total.times))
    return tuple(found)
