"""Runs of one model within the test's process, and a process with one thread."""

from __future__ import annotations

import pytest
import torch
from made_jobs import make_job as make_job
from trials import run as run


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
