"""Before a run: inspects data and model, estimates a worker's memory, and measures the speed of each way to train."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from forge_tui.errors import ForgeError, SettingsError
from forge_tui.protocol.inspection import Inspection
from forge_tui.protocol.job import Job
from forge_tui.protocol.run_data import RunData
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings, from_plain
from forge_tui.settings.sweep import Combination, combination_in_words, with_combination
from forge_tui.training import checkpoint
from forge_tui.training.acceleration import missing_compiler
from forge_tui.training.checkpoint_writer import copied_to_cpu, is_copied
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.load import load_dataset
from forge_tui.training.failures import is_out_of_memory
from forge_tui.training.kernel_choice import Kernel, choose_kernel, new_state, require_kernel
from forge_tui.training.metrics.selectable import require_selectable
from forge_tui.training.models.network import count_parameters
from forge_tui.training.optimizers import Rates
from forge_tui.training.own_code import OwnCode, error_in_words, load_own_code
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.process import prepare_process, synchronize
from forge_tui.training.state import SingleState, TrainingState
from forge_tui.worker.grouping import grouping_problem
from forge_tui.worker.memory_estimate import estimate_device_memory, estimate_memory
from forge_tui.worker.memory_meter import MemoryMeter
from forge_tui.worker.rehearsal import rehearse

_TURNS = 6
_KEPT_BYTES = 64 << 20
_EAGER = Kernel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The measurement of `models` trained together in one worker with `threads`.

    `steps_per_second` counts all models' steps per second of the training thread's CPU time, `cpu_share` is that time
    over wall-clock time: below 1 if others use the CPU. Also in CPU time: `validation_seconds` of one epoch for all
    models, `checkpoint_seconds` that training waits for a checkpoint of them, and `state_seconds` for building them.
    `compile_seconds` is wall-clock time for compiling. `worker_bytes`: the memory of such a worker.
    """

    models: int
    threads: int
    steps_per_second: float
    validation_seconds: float
    checkpoint_seconds: float
    state_seconds: float
    compile_seconds: float
    worker_bytes: int
    cpu_share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The measured ways, in the order requested; steps per epoch; seconds for loading the data.

    `save_seconds`: seconds for writing a checkpoint of one model.
    """

    ways: list[Measured]
    epoch_steps: int
    load_seconds: float
    save_seconds: float


class Probe:
    """Inspects a run's data and model, which it loads once. Raises `DataError` and `SettingsError` as training would.

    A `combination` is one of a sweep; errors name it.
    """

    def __init__(self, job: Job, combination: Combination | None = None) -> None:
        self._meter = MemoryMeter(job.device)
        prepare_process(torch.device(job.device))
        self._plain, self._where = job.settings, Path(job.working_directory)
        self._is_resume = job.data is not None
        self._known = [] if job.data is None else RunData.from_record(job.data).all()
        self._version = self._known[0].version if self._known else job.data_version
        self._seed, self._device = job.seed, torch.device(job.device)
        self._combination = combination or {}
        self._settings = self._with(self._combination)
        with with_combination_named(self._combination):
            self._own = load_own_code(self._settings)
            self._load()
            self._build()

    def take(self, combination: Combination) -> None:
        """Inspect a model with this combination from now on."""
        before, now = self._settings, self._with(combination)
        self._settings, self._combination = now, combination
        with with_combination_named(combination):
            self._own = load_own_code(now)
            if (now.training.dataset, now.data, now.model) != (before.training.dataset, before.data, before.model):
                self._load()
            if (now.training, now.data, now.model) != (before.training, before.data, before.model):
                self._build()

    def _with(self, combination: Combination) -> Settings:
        return from_plain(with_combination(self._plain, combination))

    def _load(self) -> None:
        begun = time.perf_counter()
        self._dataset = load_dataset(self._settings, self._where, self._own.dataset, self._known, self._version)
        self._held, self._peak = self._meter.now(), self._meter.peak()
        self._load_seconds = time.perf_counter() - begun
        assert self._dataset.fingerprint is not None
        self._fingerprint = self._dataset.fingerprint
        self._known.append(self._fingerprint)

    def _build(self) -> None:
        training = self._settings.training
        if training.compile and (missing := missing_compiler(self._device)):
            raise SettingsError(f"--compile needs {missing}")
        self._kernel = choose_kernel(training, self._dataset, self._device, self._own)
        if not self._is_resume:
            require_kernel(training, self._kernel)
        try:
            self._single = SingleState(training, self._dataset, self._seed, self._device, self._own)
        except Exception as error:
            if self._own.model is None or isinstance(error, ForgeError) or is_out_of_memory(error):
                raise
            raise SettingsError(
                f"--model-type {named(training.model_type)} cannot be trained: {error_in_words(error)}"
            ) from error

    def inspect(
        self, together: int = 1, rehearsal: float | None = None, is_check: bool = False, for_gpu: bool = False
    ) -> Inspection:
        """Inspect data and model, and estimate a worker that trains `together` models.

        `rehearsal`: memory (bytes) for trying custom code (`worker.rehearsal`); skipped if a model would take more;
        None: not tried. Raises `SettingsError` if it fails. `is_check`: for training functions only. `for_gpu`: the
        models will be on GPUs, wherever this one is.
        """
        with with_combination_named(self._combination):
            return self._inspect(together, rehearsal, for_gpu=for_gpu)

    def _inspect(self, together: int, rehearsal: float | None, *, for_gpu: bool) -> Inspection:
        dataset = self._dataset
        require_selectable(self._settings.training, dataset.task, validates=dataset.validation_samples > 0)
        if rehearsal is not None and self._fits(rehearsal):
            rehearse(self._settings.training, dataset, self._seed, self._device, self._own)
        known = dataset.vocabulary if dataset.classes is None else dataset.classes
        problem = grouping_problem(self._settings.training, dataset, self._seed, self._device, self._own)
        if problem is not None and together > 1:
            raise SettingsError(f"--fuse {together}: such models cannot be trained together ({problem}); use --fuse 1")
        on_device = for_gpu or self._device.type != "cpu"
        return Inspection(
            device_bytes=self._device_bytes() if on_device else None,
            parameters=count_parameters(self._single.network),
            train_samples=dataset.train_samples,
            validation_samples=dataset.validation_samples,
            test_samples=dataset.test_samples,
            features=dataset.inputs.features,
            classes=None if known is None else len(known),
            task=dataset.task.value,
            estimated_bytes=self._bytes(1),
            worker_bytes=self._bytes(together),
            data=self._fingerprint.to_record(),
            grouping_problem=problem,
            can_compile=missing_compiler(self._device) is None,
            kernel=" ".join(self._kernel.conditions.values()),
            kernel_reason=self._kernel.reason,
            table=_found_in(dataset),
        )

    def _fits(self, room: float) -> bool:
        """Whether a model fits into `room` bytes; true if the estimate fails, so that it is rehearsed."""
        try:
            return self._bytes(1) <= room
        except Exception as error:
            return not is_out_of_memory(error)

    def measure(
        self,
        ways: Sequence[tuple[int, int, bool]],
        seconds: float,
        most_bytes: float,
        rates: Sequence[tuple[float, float]] = (),
        most_device_bytes: float | None = None,
    ) -> Measurement:
        """Train each way (models, threads, compiled or not) for about `seconds`, in several turns; discard the models.

        A way for which the worker would take more than `most_bytes`, or `most_device_bytes` of its GPU, is not tried:
        its steps per second are 0.

        The median of the turns counts, in the training thread's CPU time (on a GPU in wall-clock time, until the GPU
        has done all steps): with one or two busy processes on the machine these rates stay within 5 %, where wall-clock
        rates vary threefold. Turns last a fixed wall-clock time, so that workers that measure at once stay at the same
        way, and disturb each other as in the run. The process keeps the last way's thread count. `rates`: learning rate
        and weight decay of the models of a group, if they differ.
        """
        training = self._settings.training
        sizes = {models: self._bytes(models) for models, _, _ in ways}
        candidates = [
            _Candidate(self._settings, self._dataset, self._seed, self._device, self._own, way, rates, self._kernel)
            for way in ways
        ]
        saving = _save_seconds(self._single)
        fits = [size <= most_bytes and self._fits_device(models, most_device_bytes) for models, size in sizes.items()]
        fitting = {models for models, fit in zip(sizes, fits, strict=True) if fit}
        tried = [candidate for candidate in candidates if candidate.models in fitting]
        for _ in range(_TURNS):
            for candidate in tried:
                candidate.take_turn(seconds / _TURNS)
        measured = [
            Measured(
                models=candidate.models,
                threads=candidate.threads,
                steps_per_second=candidate.steps_per_second,
                validation_seconds=candidate.validation_seconds() if candidate in tried else 0.0,
                checkpoint_seconds=candidate.checkpoint_seconds(saving) if candidate in tried else 0.0,
                state_seconds=candidate.state_seconds,
                compile_seconds=candidate.compile_seconds,
                worker_bytes=sizes[candidate.models],
                cpu_share=candidate.cpu_share,
            )
            for candidate in candidates
        ]
        return Measurement(
            ways=measured,
            epoch_steps=-(-self._dataset.epoch_samples(training.batch_size) // training.batch_size),
            load_seconds=self._load_seconds,
            save_seconds=saving,
        )

    def _fits_device(self, models: int, most: float | None) -> bool:
        if most is None or self._device.type == "cpu":
            return True
        first, further = self._device_bytes()
        return first + (models - 1) * further <= most

    def _device_bytes(self) -> tuple[int, int]:
        """The bytes of tensors on the device: of one model, and of each further one of a group."""
        return estimate_device_memory(self._settings.training, self._dataset, self._single.network, self._own)

    def _bytes(self, models: int) -> int:
        """The memory of a worker that trains `models` together."""
        return estimate_memory(
            self._settings.training, self._dataset, self._single.network, held=self._held, peak=self._peak,
            members=models, own=self._own,
        )  # fmt: skip


def _found_in(dataset: Dataset) -> dict[str, Any]:
    """What `--check` says of target and columns: of a table its `TableReport`, else as far as it is known."""
    if dataset.table is not None:
        return dataset.table.to_record()
    return {
        "target": dataset.target,
        "task_reason": None,
        "class_names": None if dataset.classes is None else list(dataset.classes),
        "rows_left_out": 0,
        "columns": [{"name": name, "kind": "number", "reason": "numbers"} for name in dataset.features],
        "split": dataset.split.get("method"),
        "format": None,
        "warnings": [],
    }


@contextlib.contextmanager
def with_combination_named(combination: Combination) -> Iterator[None]:
    """Add the combination to errors, if it is one of several."""
    try:
        yield
    except ForgeError as error:
        if not combination:
            raise
        raise type(error)(f"with {combination_in_words(combination)}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Turn:
    """Steps, their CPU seconds, and wall-clock seconds."""

    steps: int
    used: float
    passed: float


class _Candidate:
    """One way of training in one worker, and its turns so far. Large models are rebuilt for every turn."""

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        seed: int,
        device: torch.device,
        own: OwnCode,
        way: tuple[int, int, bool],
        rates: Sequence[tuple[float, float]],
        kernel: Kernel = _EAGER,
    ) -> None:
        self.models, self.threads, self._compile = way
        self.state_seconds = self.compile_seconds = 0.0
        self._turns: list[_Turn] = []
        self._device = device
        models = self.models
        self._seeds = [seed + number for number in range(models)]
        # Compiling takes many times as long as measuring: only on request.
        training = replace(settings.training, compile=self._compile)
        each = [Rates(*rates[number % len(rates)]) for number in range(models)] if rates else None
        kernel = Kernel() if self._compile else kernel
        self._build = partial(new_state, training, dataset, self._seeds, device, own, kernel, each)
        self._place = partial(PlacedData, dataset, batch_size=settings.training.batch_size, device=device)
        self._kept: tuple[TrainingState, PlacedData] | None = None

    def _built(self) -> tuple[TrainingState, PlacedData]:
        if self._kept is not None:
            return self._kept
        begun = self._now()
        state = self._build()
        built = state, self._place(network=state.network)
        self.state_seconds = self._now() - begun
        if self._compile:
            self.compile_seconds = self._compiling_seconds(*built)
        if self._compile or self.models * sum(item.nbytes for item in state.network.parameters()) <= _KEPT_BYTES:
            self._kept = built
        return built

    def _compiling_seconds(self, state: TrainingState, data: PlacedData) -> float:
        """Seconds for the first step of each shape: an epoch's first batch and its last, which may be short."""
        begun, last = self._passed(), data.batches.steps - 1
        for number, (inputs, targets) in enumerate(state.batches(data, self._seeds)):
            if number in (0, last):
                state.loss(data, inputs, targets).backward()
                state.update()
        return self._passed() - begun

    def take_turn(self, seconds: float) -> None:
        """Train for half of `seconds` to warm up, then measure for `seconds`."""
        torch.set_num_threads(self.threads)
        state, data = self._built()
        self._train(state, data, seconds / 2)
        self._turns.append(self._train(state, data, seconds))

    def _train(self, state: TrainingState, data: PlacedData, limit: float) -> _Turn:
        """Train for `limit` wall-clock seconds, at least one step; a GPU is given steps for so long."""
        epoch, before, used = 0, state.step, self._now()
        begun = time.perf_counter()

        def may_continue() -> bool:
            return state.step == before or time.perf_counter() - begun < limit

        while may_continue():
            state.epoch, state.step_in_epoch = epoch, 0
            epoch += 1
            state.train_epoch(data, self._seeds, may_continue)
        return _Turn(state.step - before, self._now() - used, time.perf_counter() - begun)

    def _now(self) -> float:
        """Seconds that count: the thread's CPU time; on a GPU the wall-clock time when it has done all so far."""
        if self._device.type == "cpu":
            return time.thread_time()
        return self._passed()

    def _passed(self) -> float:
        """Wall-clock seconds when the device has done all so far."""
        synchronize(self._device)
        return time.perf_counter()

    @property
    def steps_per_second(self) -> float:
        """Steps of all models per second of CPU time: the median of the turns; 0 before the first."""
        rates = [turn.steps / turn.used for turn in self._turns if turn.used > 0]
        return self.models * statistics.median(rates) if rates else 0.0

    @property
    def cpu_share(self) -> float:
        """The training thread's CPU time over wall-clock time; 1 before the first turn."""
        passed = sum(turn.passed for turn in self._turns)
        return min(1.0, sum(turn.used for turn in self._turns) / passed) if passed else 1.0

    def validation_seconds(self) -> float:
        """Seconds for one validation; the first one is a warm-up."""
        torch.set_num_threads(self.threads)
        state, data = self._built()
        state.validate(data)
        begun = self._now()
        state.validate(data)
        return self._now() - begun

    def checkpoint_seconds(self, save_seconds: float) -> float:
        """How long training waits for a checkpoint; `save_seconds`: for writing one model's."""
        torch.set_num_threads(self.threads)
        state, _ = self._built()
        if not is_copied(state):
            return self.models * save_seconds
        begun = self._now()
        for number in range(self.models):
            copied_to_cpu(state.tensors(number))
        return self._now() - begun


def _save_seconds(state: TrainingState) -> float:
    """Seconds for writing a checkpoint of one model, measured on the disk of temporary files."""
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        checkpoint.save_checkpoint(Path(place), 1, state.tensors(0), state.record(0))
        return time.perf_counter() - begun
