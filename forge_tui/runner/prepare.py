"""Decisions before the first step: number of workers, their work, and the device."""

from __future__ import annotations

from dataclasses import dataclass

from forge_tui.protocol.job import Job
from forge_tui.resources.bfloat16 import slow_bfloat16
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import OtherRuns, WorkerLimit, worker_limit
from forge_tui.runner import groups
from forge_tui.settings.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the run is carried out, decided once and kept by retry and resume.

    `reasons`: kinds of decision with their reasons. `memory_estimate` is None for a training function.
    """

    limit: WorkerLimit
    resources: SystemResources
    threads: int
    fuse: int
    reasons: tuple[tuple[str, str], ...]
    job: Job
    memory_estimate: int | None


def allowed_workers(
    settings: Settings, resources: SystemResources, others: OtherRuns | None = None, threads: int = 1
) -> WorkerLimit:
    """The resource rules' limit for this run's mode, worker count and number of models or groups."""
    training = settings.training
    requested = training.max_parallel_workers if training.training_mode == "parallel" else 1
    return worker_limit(
        min(requested, groups.group_count(settings)),
        resources,
        settings.resources,
        mode=training.training_mode,
        others=others,
        threads=threads,
    )


def slowness(settings: Settings, device: str) -> str | None:
    """What makes such a run slow on the device, or None."""
    precisions = settings.sweep.get("training.precision", (settings.training.precision,))
    return slow_bfloat16(set(precisions), device)


def choose_device(settings: Settings, resources: SystemResources) -> str:
    """The device models are trained on."""
    device = settings.resources.device
    if device == "auto":
        return "cuda" if resources.gpus else "cpu"
    return device if isinstance(device, str) else "cuda"
