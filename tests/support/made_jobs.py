"""Jobs for tests of the trainer and of workers, in a run directory of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forge_tui.protocol.job import Job
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig, to_plain

JobMaker = Callable[..., Job]


@pytest.fixture
def make_job(tmp_path: Path) -> JobMaker:
    """Jobs for small planners; `training`, `data` and `run` override settings, the others fields of the job."""
    return partial(job_in, tmp_path)


def job_in(
    place: Path,
    directory: str = "run",
    training: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    **fields: Any,
) -> Job:
    """As `make_job` gives, with the working directory `place`."""
    (place / directory).mkdir(exist_ok=True)
    settings = Settings(
        training=TrainingConfig(**{"model_size": 2_000, "epochs": 4, **(training or {})}),
        data=DataSettings(**{"samples": 110, "features": 12, "classes": 4, **(data or {})}),
        run=RunSettings(**(run or {})),
    )
    values: dict[str, Any] = {
        "run": directory,
        "directory": str(place / directory),
        "working_directory": str(place),
        "model": "cognate_planner_1",
        "index": 1,
        "attempt": 1,
        "seed": 0,
        "settings": to_plain(settings),
        "threads": 1,
        "device": "cpu",
    }
    return Job(**{**values, **fields})
