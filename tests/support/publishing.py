"""What a runner does when a worker has finished a model: give its files their names, and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forge_tui.engines.base import WorkerHandle
from forge_tui.training.member import publish_here


def publish_if_finished(worker: WorkerHandle, message: dict[str, Any]) -> None:
    """Publish the model of a message `result`, and tell the worker so; other messages are left alone."""
    if "result" not in message or "attempt" not in message:  # an inspection has a result, too
        return
    job = next(job for job in worker.jobs if job.index == message["result"])
    publish_here(Path(job.directory), job, has_weights=message["weights"])
    worker.send({"command": "published", "index": job.index, "refused": None, "errno": None})
