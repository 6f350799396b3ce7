"""Before a run: what data and model look like, what one model will need, and how many threads suit it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from forge_tui.settings.schema import Settings, from_plain
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.load import load_dataset
from forge_tui.training.group_state import GroupState
from forge_tui.training.job import Job
from forge_tui.training.memory_estimate import estimate
from forge_tui.training.memory_meter import MemoryMeter
from forge_tui.training.models.network import count_parameters
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, TrainingState

_WARM_UP_STEPS = 3
_SHORT_RUN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`features` is the number of features, or None for tokens; `classes` that of classes, or of tokens, or None.

    `estimated_bytes` is the memory that training one such model will take, `worker_bytes` what a worker takes with the
    group that it trains together.
    """

    parameters: int
    train_samples: int
    validation_samples: int
    features: int | None
    classes: int | None
    task: str
    estimated_bytes: int
    worker_bytes: int


def inspect(job: Job) -> Inspection:
    """Read the data and build the model once. Raises `DataError` and `SettingsError` as training would."""
    meter = MemoryMeter(job.device)
    settings, dataset = _load(job)
    held, peak = meter.now(), meter.peak()
    state = SingleState(settings.training, dataset, job.seed, torch.device(job.device))
    parameters = count_parameters(state.network)
    parallel = settings.training.training_mode == "parallel"
    fuse = settings.engine.fuse if settings.engine.fuse != "auto" else 1
    members = min(fuse, settings.run.models) if parallel else 1

    def expected(models: int) -> int:
        return estimate(settings.training, dataset, state.network, held=held, peak=peak, members=models)

    known = dataset.classes if dataset.vocabulary is None else dataset.vocabulary
    return Inspection(
        parameters=parameters,
        train_samples=dataset.train_samples,
        validation_samples=dataset.validation_samples,
        features=dataset.inputs.features,
        classes=None if known is None else len(known),
        task=dataset.task.value,
        estimated_bytes=expected(1),
        worker_bytes=expected(members),
    )


def measure_threads(job: Job, candidates: Sequence[int], seconds: float) -> dict[int, float]:
    """Steps per second with each number of threads, each measured for about `seconds`, in turns of two halves.

    Trains a model that is thrown away. The process is left with the last candidate's thread count.
    """
    settings, dataset = _load(job)
    state = SingleState(settings.training, dataset, job.seed, torch.device(job.device))
    data = PlacedData(dataset, state.network, settings.training.batch_size, state.loss_sum.device)

    best = dict.fromkeys(candidates, 0.0)
    for _ in range(2):  # in turns, so that a moment's load of the machine does not hit one candidate only
        for threads in candidates:
            torch.set_num_threads(threads)
            _steps_per_second(state, data, [job.seed], seconds, most=_WARM_UP_STEPS)
            best[threads] = max(best[threads], _steps_per_second(state, data, [job.seed], seconds / 2))
    return best


def measure_groups(job: Job, candidates: Sequence[int], seconds: float) -> tuple[dict[int, float], dict[int, int]]:
    """Steps of a model per second, all models of a group counted, and the bytes a worker takes, by group size.

    A run that is over in a few seconds anyway is measured with one model only. Trains models that are thrown away.
    """
    meter = MemoryMeter(job.device)
    settings, dataset = _load(job)
    held, peak = meter.now(), meter.peak()
    device, training = torch.device(job.device), settings.training
    torch.set_num_threads(job.threads)
    rates: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for models in candidates:
        seeds = [job.seed + number for number in range(models)]
        state = _state(settings, dataset, seeds, device)
        data = PlacedData(dataset, state.network, training.batch_size, device)
        sizes[models] = estimate(training, dataset, state.network, held=held, peak=peak, members=models)
        _steps_per_second(state, data, seeds, seconds, most=_WARM_UP_STEPS)
        rates[models] = models * _steps_per_second(state, data, seeds, seconds / 2)
        if models == 1 and settings.run.models * training.epochs * data.batches.steps < rates[1] * _SHORT_RUN_SECONDS:
            break
    return rates, sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What `models` trained together in one worker with `threads` came to.

    `steps_per_second` counts every model's steps; `validation_seconds` are those of one epoch, all models together;
    `state_seconds` what building them took; `worker_bytes` what such a worker takes.
    """

    models: int
    threads: int
    steps_per_second: float
    validation_seconds: float
    state_seconds: float
    worker_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The ways measured, in the order asked for; steps of an epoch; seconds that loading took, and all of it."""

    ways: list[Measured]
    epoch_steps: int
    load_seconds: float
    seconds: float


def measure_ways(job: Job, ways: Sequence[tuple[int, int]], seconds: float) -> Measurement:
    """Train (models, threads) for about `seconds` each, in turns of two halves; the models are thrown away.

    The better half counts: what disturbs a measurement only ever makes it slower.
    """
    begun = time.perf_counter()
    meter = MemoryMeter(job.device)
    torch.set_flush_denormal(True)
    settings, dataset = _load(job)
    held, peak = meter.now(), meter.peak()
    loaded = time.perf_counter() - begun
    device, training = torch.device(job.device), settings.training
    best: dict[tuple[int, int], Measured] = {}
    epoch_steps = 0
    for _ in range(2):
        for models, threads in ways:
            torch.set_num_threads(threads)
            started = time.perf_counter()
            seeds = [job.seed + number for number in range(models)]
            state = _state(settings, dataset, seeds, device)
            data = PlacedData(dataset, state.network, training.batch_size, device)
            built = time.perf_counter() - started
            epoch_steps = data.batches.steps
            _steps_per_second(state, data, seeds, seconds / 2, most=_WARM_UP_STEPS)
            rate = models * _steps_per_second(state, data, seeds, seconds / 2)
            state.validate(data)
            started = time.perf_counter()
            state.validate(data)
            validation = time.perf_counter() - started
            size = estimate(training, dataset, state.network, held=held, peak=peak, members=models)
            way, earlier = (models, threads), best.get((models, threads))
            best[way] = Measured(
                models=models,
                threads=threads,
                steps_per_second=max(rate, earlier.steps_per_second if earlier else 0.0),
                validation_seconds=min(validation, earlier.validation_seconds if earlier else validation),
                state_seconds=min(built, earlier.state_seconds if earlier else built),
                worker_bytes=size,
            )
    return Measurement(
        ways=[best[way] for way in ways],
        epoch_steps=epoch_steps,
        load_seconds=loaded,
        seconds=time.perf_counter() - begun,
    )


def _state(settings: Settings, dataset: Dataset, seeds: Sequence[int], device: torch.device) -> TrainingState:
    if len(seeds) > 1:
        return GroupState(settings.training, dataset, seeds, device)
    return SingleState(settings.training, dataset, seeds[0], device)


def _steps_per_second(
    state: TrainingState, data: PlacedData, seeds: Sequence[int], limit: float, most: int | None = None
) -> float:
    """Train for `limit` seconds, or `most` steps."""
    done, epoch, begun = 0, 0, time.perf_counter()
    while True:
        state.epoch, state.step_in_epoch = epoch, 0
        epoch += 1
        for batch, wanted in state.batches(data, seeds):
            state.loss(data, batch, wanted).backward()
            state.update()
            done += 1
            spent = time.perf_counter() - begun
            if spent >= limit or done == most:
                return done / spent


def _load(job: Job) -> tuple[Settings, Dataset]:
    settings = from_plain(job.settings)
    return settings, load_dataset(settings, Path(job.working_directory))
