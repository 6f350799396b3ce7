"""What a worker finds ready when it starts, and that being ready changes nothing of what it trains."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from forge_tui.training.job import Job
from forge_tui.training.random_state import seed_everything
from forge_tui.training.warm_up import warm_up

WORKER = """
import gc, json, os, socket, sys
from forge_tui.training import forkserver
forkserver._preload()
before, collects = set(sys.modules), gc.isenabled()
from forge_tui.training import worker
ours, theirs = socket.socketpair()
job = json.loads(sys.argv[1])
status = worker.main(theirs, {"kind": "train", "jobs": [job], "options": {}}, os.getppid())
print(json.dumps([status, collects, sorted(set(sys.modules) - before)]))
"""


def test_a_worker_imports_nothing_that_the_fork_server_has_not_imported(make_job: Callable[..., Job]) -> None:
    job = make_job(training={"epochs": 2, "checkpoint_interval": 1}, data={"validation_fraction": 0.1})
    done = subprocess.run(
        [sys.executable, "-c", WORKER, json.dumps(job.to_record())], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [0, True, []]


def test_warming_up_leaves_every_random_generator_as_it_was() -> None:
    def draws() -> tuple[list[float], list[float], float]:
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    seed_everything(5)
    expected = draws()
    seed_everything(5)
    warm_up(1)
    assert draws() == expected
