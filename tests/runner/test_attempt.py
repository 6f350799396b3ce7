"""How an end without a word is explained."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from forge_tui.engines.buffered_log import Log
from forge_tui.engines.local import Worker
from forge_tui.engines.output import Output
from forge_tui.protocol.job import Job
from forge_tui.runner.attempt import Attempt, unexplained

JOB = Job(
    run="run", directory="/run", working_directory="/", model="planner_2", index=2, attempt=3, seed=1, settings={},
    threads=1, device="cpu",
)  # fmt: skip


@pytest.fixture
def worker() -> Iterator[Worker]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Worker(1, (JOB,), ours, Output(-1, Log(None)), lambda *_: None, lambda *_: None, pid=4711)


@pytest.mark.parametrize(
    ("status", "oom_kills", "orphaned", "kind", "cause"),
    [
        (-signal.SIGKILL, 0, False, "signal", "was killed by SIGKILL"),
        (-signal.SIGKILL, 1, False, "out_of_memory", "was ended by the kernel for want of memory (SIGKILL)"),
        (-signal.SIGKILL, 1, True, "signal", "ended because its fork server died"),
        (-signal.SIGSEGV, 1, False, "signal", "was killed by SIGSEGV"),
        (0, 0, False, "exit", "ended with status 0"),
        (3, 1, False, "exit", "ended with status 3"),
    ],
)
def test_every_end_has_its_kind_and_words(
    worker: Worker, status: int, oom_kills: int, orphaned: bool, kind: str, cause: str
) -> None:
    worker.status, worker.orphaned = status, orphaned
    found = unexplained(worker, JOB, 7.0, oom_kills)
    assert (found.kind, found.message) == (kind, f"worker 4711 {cause} before the model was finished")
    assert (found.model, found.index, found.attempt, found.time) == ("planner_2", 2, 3, 7.0)


@pytest.mark.parametrize("where", ["File train.py, line 7", None])
def test_a_hang_says_where_if_the_worker_could(worker: Worker, where: str | None) -> None:
    attempt = Attempt.begin(worker, 90.0, 5.0)
    attempt.where = where
    found = attempt.hang(JOB, 8.0)
    assert (found.kind, found.traceback) == ("hang", where)
    assert found.message.startswith("worker 4711 has made no step for 90 s ([run] hang_seconds)")
    assert found.message.endswith("native code)") == (where is None)


def test_kills_by_the_kernel_are_counted_from_the_beginning_of_the_attempt(worker: Worker) -> None:
    attempt = Attempt.begin(worker, None, 0.0)
    assert attempt.oom_kills_since() == 0
    if attempt.oom_kills is not None:
        attempt.oom_kills -= 2
        assert attempt.oom_kills_since() == 2
    attempt.oom_kills = None
    assert attempt.oom_kills_since() == 0
