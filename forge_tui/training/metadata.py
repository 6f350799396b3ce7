"""The content of NAME.json for a finished model."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forge_tui import __version__
from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.job import Job
from forge_tui.settings.schema import TrainingConfig
from forge_tui.tables.encoder import VERSION
from forge_tui.training import code_finder
from forge_tui.training.data.dataset import Dataset, Normalisation
from forge_tui.training.final_figures import FinalFigures
from forge_tui.training.losses import NAMES
from forge_tui.training.models.build import ARCHITECTURE
from forge_tui.training.models.network import Network, count_parameters
from forge_tui.training.reported_record import VALIDATION, reported_record
from forge_tui.training.state import Progress, TrainingState
from forge_tui.training.trial_progress import TrialProgress


def config_record(training: TrainingConfig) -> dict[str, Any]:
    """All fields of the config, JSON-able."""
    values = {item.name: getattr(training, item.name) for item in dataclasses.fields(training)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _saved_epoch(progress: Progress) -> EpochRecord:
    """The epoch of the saved weights: with early stopping the best, else the last."""
    return progress.history[(progress.best.epoch if progress.best.weights else 0) - 1]


def _normalisation(network: Network) -> dict[str, Any] | None:
    """The model's scaling; after a change of the data still that of its start."""
    if network.feature_mean is None or network.feature_scale is None:
        return None
    return Normalisation(
        feature_mean=network.feature_mean,
        feature_scale=network.feature_scale,
        target_mean=network.target_mean,
        target_scale=network.target_scale,
    ).to_record()


def _code() -> dict[str, Any]:
    """The custom code that the model was trained with: SHA-256 of each file, and how to find the files."""
    finder = code_finder.installed()
    if finder is None:
        return {"code": {}}
    record = finder.record
    return {"code": record.files, "code_roots": record.roots, "code_modules": record.modules}


def model_record(
    job: Job,
    training: TrainingConfig,
    state: TrainingState,
    number: int,
    dataset: Dataset,
    group: list[str] | None,
    factor: float = 1.0,
    *,
    figures: FinalFigures,
) -> dict[str, Any]:
    """The metadata of model `number` (from 0) of `state`, without the fields of its files (format, name, SHA-256).

    `factor`: the factor on its learning rate after divergences; `figures`: what is measured at its end.
    """
    progress = state.progress[number]
    saved = _saved_epoch(progress)
    return {
        "config": config_record(training),
        "settings": job.settings,
        "seed": job.seed,
        "parameters": count_parameters(state.network),
        "task": dataset.task.value,
        "features": list(dataset.features),
        "architecture": ARCHITECTURE,
        "encoder": 1 if dataset.encoder is None else VERSION,
        "table": None if dataset.encoder is None else dataset.encoder.to_record(),
        "target": dataset.target,
        "classes": None if dataset.classes is None else list(dataset.classes),
        "vocabulary": None if dataset.vocabulary is None else list(dataset.vocabulary),
        "sequence_length": None if dataset.vocabulary is None else dataset.train_inputs.shape[1],
        "outputs": dataset.outputs,
        "input_shape": None if dataset.vocabulary is not None else list(dataset.train_inputs.shape[1:]),
        "normalisation": _normalisation(state.network),
        "class_weights": None if dataset.class_weights is None else dataset.class_weights.tolist(),
        "split": dataset.split,
        "data": None if dataset.fingerprint is None else dataset.fingerprint.to_public(),
        "data_version": None if dataset.fingerprint is None else dataset.fingerprint.version,
        "loss": saved.metrics.get("loss"),
        "loss_function": NAMES[dataset.task] if training.loss == "auto" else training.loss,
        "best_loss": progress.best_loss,
        "metrics": {**saved.metrics, **figures.test},
        "baseline": figures.baseline,
        "details": figures.details.to_record(),
        "validation": {name: saved.metrics.get(f"validation_{name}") for name in VALIDATION},
        "epochs_completed": state.epoch,
        "best_epoch": progress.best.epoch if progress.best.weights else None,
        "stopped_early": state.epoch < training.length,
        "history": [item.to_record() for item in progress.history],
        "started": progress.started,
        "finished": time.time(),
        "seconds": state.seconds,
        "attempts": job.attempt,
        "threads": job.threads,
        "group": group,
        "device": job.device,
        "kernel": state.kernel,
        "learning_rate_factor": factor,
        "exact": progress.exact,
        **_code(),
        "versions": _versions(),
    }


def trial_record(
    job: Job,
    training: TrainingConfig,
    progress: TrialProgress,
    parameters: int | None,
    *,
    saved: Mapping[str, Tensor] | None,
) -> dict[str, Any]:
    """As `model_record`, of a model that a training function has trained: nothing is known of its data.

    `saved`: the weights that it has given, and `parameters` of them; without any `exact` is None.
    """
    history = progress.history()
    reported = reported_record(
        job,
        progress,
        config=config_record(training),
        parameters=parameters,
        stopped_early=bool(history) and history[-1].epoch < training.length,
        started=progress.started,
        seconds=progress.seconds,
        exact=None if saved is None else progress.exact,
    )
    return {**reported, **_code(), "versions": _versions()}


def _versions() -> dict[str, str]:
    return {
        "forge_tui": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
