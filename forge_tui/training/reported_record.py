"""What NAME.json says of a model that a training function or a command has trained: what it reported. No torch here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from forge_tui.protocol.job import Job
from forge_tui.training.reported_epochs import ReportedEpochs

VALIDATION = ("loss", "accuracy", "perplexity", "metric")
"""The keys of `validation`, which is older than `metrics` and kept beside it."""
_OF_DATA = (
    "task", "features", "target", "classes", "vocabulary", "sequence_length", "outputs", "input_shape", "normalisation",
    "class_weights", "split", "data", "data_version", "architecture", "encoder", "table",
)  # fmt: skip


def reported_record(
    job: Job,
    progress: ReportedEpochs,
    *,
    config: Mapping[str, Any],
    parameters: int | None,
    stopped_early: bool,
    started: float,
    seconds: float,
    exact: bool | None,
) -> dict[str, Any]:
    """The fields of NAME.json that do not depend on who trained it, without those of its files and of versions.

    What only the built-in loop knows is None.
    """
    history = progress.history()
    metrics = history[-1].metrics if history else {}
    return {
        "config": config,
        "settings": job.settings,
        "seed": job.seed,
        "parameters": parameters,
        **dict.fromkeys(_OF_DATA),
        "loss": metrics.get("loss"),
        "loss_function": None,
        "best_loss": progress.best_loss,
        "metrics": metrics,
        "validation": {name: metrics.get(f"validation_{name}") for name in VALIDATION},
        "epochs_completed": history[-1].epoch if history else 0,
        "best_epoch": None,
        "stopped_early": stopped_early,
        "history": [item.to_record() for item in history],
        "started": started,
        "finished": time.time(),
        "seconds": seconds,
        "attempts": job.attempt,
        "threads": job.threads,
        "group": None,
        "device": job.device,
        "learning_rate_factor": 1.0,
        "exact": exact,
    }
