"""Asks a worker of its own which devices torch can use: the runner imports no torch, and its fork server no CUDA."""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from typing import Any

from forge_tui.engines.base import Engine, WorkerHandle
from forge_tui.protocol.job import Job
from forge_tui.resources.devices import TorchDevices, is_torch_asked
from forge_tui.resources.gpus import Gpu
from forge_tui.settings.schema import Settings

ANSWER_SECONDS = 60.0
"""CUDA starts in a second or two; with many GPUs and without the persistence daemon in up to half a minute."""


def torch_devices(
    settings: Settings, gpus: Sequence[Gpu], engine: Engine, selector: selectors.BaseSelector, job: Job
) -> TorchDevices | None:
    """What torch can use; None without a reason to ask, such as no GPU, or a command, which may use any library."""
    is_asked = is_torch_asked(settings.resources.device, gpus, trains_with_torch=not settings.run.command)
    return _ask(engine, selector, job) if is_asked else None


def _ask(engine: Engine, selector: selectors.BaseSelector, job: Job) -> TorchDevices:
    answers: list[dict[str, Any]] = []
    ended: list[WorkerHandle] = []
    worker = engine.spawn(
        "devices", [job], None, lambda worker, message: answers.append(message["result"]), ended.append
    )
    begun: float | None = None
    while not ended:
        for key, _ in selector.select(0.1):
            key.data()
        engine.tick()
        if begun is None and worker.place is not None:
            begun = time.monotonic()  # before that the fork server imports torch
        if begun is not None and not ended and time.monotonic() - begun > ANSWER_SECONDS:
            worker.kill()
            return TorchDevices(problem=f"CUDA has not started within {ANSWER_SECONDS:g} s: its driver hangs")
    if not answers:
        how = "" if ended[0].ended is None else f" {ended[0].ended.words}"
        return TorchDevices(problem=f"the process that was to start CUDA{how} without an answer")
    return TorchDevices(tuple(answers[0]["uuids"]), answers[0]["problem"], answers[0]["mps"])
