"""What a worker finds ready when it starts, and that being ready changes nothing of what it trains."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from running import script

from forge_tui.protocol.job import Job
from forge_tui.training.random_state import seed_everything
from forge_tui.worker.warm_up import warm_up

WORKER = """
import gc, json, os, socket, sys
from forge_tui.worker import fork_server
fork_server._preload()
before, collects = set(sys.modules), gc.isenabled()
from forge_tui.protocol.wire import encode_line
from forge_tui.worker import loop
ours, theirs = socket.socketpair()
job = json.loads(sys.argv[1])
answer = {"command": "published", "index": job["index"], "refused": None, "errno": None}
ours.sendall(encode_line(answer))  # as the runner does when the model's files have their names
status = loop.main(theirs, {"kind": "train", "jobs": [job], "options": {}}, os.getppid())
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


DENORMALS = """
import torch
from forge_tui.training.process import prepare_process
from forge_tui.worker.warm_up import warm_up
torch.set_num_threads(2)
if sys.argv[1] == "spare":
    warm_up(2)
prepare_process(torch.device("cpu"))
product = torch.full((2_000, 500), 1e-20) @ torch.full((500, 500), 1e-20)
print((product.view(torch.int32) != 0).sum().item())
"""


@pytest.mark.parametrize("worker", ["new", "spare"])
def test_all_threads_of_a_worker_flush_denormal_numbers_whether_it_was_warmed_up_or_not(worker: str) -> None:
    assert script(DENORMALS, worker).stdout == "0\n"


FAULTS_OF_STEPS = """
import resource, statistics, torch
from forge_tui.worker import fork_server
if sys.argv[1] == "kept":
    fork_server._keep_freed_memory()
def step():
    torch.zeros(40 << 18).add_(1.0)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def of_one_step():
    before = faults()
    step()
    return faults() - before
# The median: the heap grows once or twice, sooner or later, to what it needs.
print(statistics.median_low(of_one_step() for _ in range(15)))
"""


def test_what_a_step_frees_is_there_for_the_next_one() -> None:
    """40 MiB, taken and freed in each step: 10,000 pages from the kernel where they are given back to it."""

    def faults(how: str) -> int:
        return int(script(FAULTS_OF_STEPS, how).stdout)

    assert faults("kept") < 100 < 10_000 < faults("given back")
