"""Jobs, as the trainer's tests have them, and Ray engines on scripted clusters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_host import EngineHost
from fake_cluster import FakeCluster
from made_jobs import make_job as make_job


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def on(stack: contextlib.ExitStack, tmp_path: Path) -> Any:
    """An engine on nodes with these names, and `gpus` on some of them."""

    def make(*names: str, gpus: dict[str, Any] | None = None, **engine: Any) -> EngineHost:
        return EngineHost(stack, tmp_path, FakeCluster(*names, gpus=gpus), **engine)

    return make
