"""How the local engine places workers, withdraws them, and explains their ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import wait_until

from forge_tui.engines import local
from forge_tui.engines.base import Ended, EndKind, Place, WorkerHandle
from forge_tui.engines.local import LocalEngine, LocalWorker
from forge_tui.engines.output import Outputs
from forge_tui.protocol.job import Job
from forge_tui.settings.schema import Settings, to_plain


class Local:
    """An engine without a run."""

    def __init__(self, stack: contextlib.ExitStack, base: Path) -> None:
        self.base = base
        self.selector = stack.enter_context(selectors.DefaultSelector())
        outputs = stack.enter_context(contextlib.closing(Outputs(None, 0)))
        self.engine = stack.enter_context(contextlib.closing(LocalEngine(self.selector, None, 0, outputs)))
        self.messages: list[dict[str, Any]] = []
        self.ended: list[WorkerHandle] = []

    def job(self, index: int = 1) -> Job:
        return Job(
            run="run", directory=str(self.base), working_directory=str(self.base), model=f"planner_{index}",
            index=index, attempt=1, seed=1, settings=to_plain(Settings()), threads=1, device="cpu",
        )  # fmt: skip

    def inspect(self) -> LocalWorker:
        """Ask for a worker that waits for questions."""
        return self.engine.spawn("inspect", [self.job()], None, self._on_message, self.ended.append)

    def _on_message(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def until(self, condition: Callable[[], object]) -> None:
        def look() -> object:
            for key, _ in self.selector.select(0.01):
                key.data()
            self.engine.tick()
            return condition()

        wait_until(look, "the engine's news", 60.0)

    def forked(self, number: int, pid: int | None = 4711) -> LocalWorker:
        """A worker whose process the test makes up."""
        ours, theirs = socket.socketpair()
        theirs.close()
        output, writing = self.engine._outputs.pipe(None)
        os.close(writing)
        worker = LocalWorker(
            number, (self.job(number),), ours, output, self._on_message, self.ended.append, local._oom_kills(), pid
        )  # fmt: skip
        self.engine.workers.append(worker)
        self.selector.register(ours, selectors.EVENT_READ, lambda: None)
        return worker

    def end(self, worker: LocalWorker, status: int) -> Ended | None:
        """Its process is gone."""
        worker.status = status
        self.engine._finish(worker)
        return worker.ended


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Local]:
    with contextlib.ExitStack() as stack:
        yield Local(stack, tmp_path)


def kernel_has_killed(count: int | None, patch: pytest.MonkeyPatch) -> None:
    """The kernel's count, which no test may raise."""
    patch.setattr("forge_tui.engines.local.oom_kills", lambda _: count)


@pytest.mark.parametrize(
    ("status", "kills", "orphaned", "killed", "kind", "words"),
    [
        (-signal.SIGKILL, 0, False, False, "signal", "was killed by SIGKILL"),
        (-signal.SIGKILL, 1, False, False, "out_of_memory", "was killed by the kernel for lack of memory (SIGKILL)"),
        (-signal.SIGKILL, 1, False, True, "signal", "was killed by SIGKILL"),
        (-signal.SIGKILL, 1, True, False, "signal", "ended because its fork server died"),
        (-signal.SIGSEGV, 1, False, False, "signal", "was killed by SIGSEGV"),
        (0, 0, False, False, "exit", "ended with status 0"),
        (3, 1, False, False, "exit", "ended with status 3"),
    ],
)
def test_every_end_has_its_kind_and_words(
    at: Local, monkeypatch: pytest.MonkeyPatch, status: int, kills: int, orphaned: bool, killed: bool, kind: str,
    words: str,
) -> None:  # fmt: skip
    kernel_has_killed(5, monkeypatch)
    worker = at.forked(1)
    kernel_has_killed(5 + kills, monkeypatch)
    worker.orphaned, worker.killed = orphaned, killed
    assert at.end(worker, status) == Ended(EndKind(kind), words)


def test_a_kill_by_the_kernel_explains_one_worker_and_not_the_next_that_is_killed_by_hand(
    at: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_has_killed(5, monkeypatch)
    one, other = at.forked(1), at.forked(2)
    kernel_has_killed(6, monkeypatch)
    ends = [at.end(one, -signal.SIGKILL), at.end(other, -signal.SIGKILL)]
    assert [end.kind for end in ends if end is not None] == [EndKind.OUT_OF_MEMORY, EndKind.SIGNAL]


def test_where_the_kernel_does_not_count_nothing_is_called_a_lack_of_memory(
    at: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_has_killed(None, monkeypatch)
    end = at.end(at.forked(1), -signal.SIGKILL)
    assert end is not None
    assert end.kind is EndKind.SIGNAL


def test_a_worker_is_placed_when_it_is_forked_and_one_that_was_withdrawn_before_that_never_runs(at: Local) -> None:
    worker = at.inspect()
    worker.send({"command": "stop"})
    assert (worker.place, worker.name, worker.ended, dict(at.engine.samples())) == (None, None, None, {})
    at.until(lambda: worker.place)
    assert worker.place == Place(socket.gethostname(), "cpu")
    assert worker.name == worker.pid
    assert at.engine.capacity() is None
    at.until(lambda: at.ended)  # it was sent what waited for its place
    assert worker.ended == Ended(EndKind.EXIT, "ended with status 0")

    server = at.engine._process
    assert server is not None
    os.kill(server.pid, signal.SIGSTOP)  # so that it has not forked yet
    withdrawn, next_one = at.inspect(), at.inspect()
    withdrawn.kill()
    os.kill(server.pid, signal.SIGCONT)
    at.until(lambda: withdrawn in at.ended and next_one.place)
    assert withdrawn.ended == Ended(EndKind.NOT_PLACED, "was withdrawn before it was placed")
    assert next_one.ended is None
    assert list(at.engine.samples()) == [next_one.id]


def test_when_nobody_waits_for_it_any_more_the_fork_server_need_not_get_ready(at: Local) -> None:
    at.engine.start()
    process = at.engine._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)  # it never gets ready
    one, other = at.inspect(), at.inspect()
    one.kill()
    for _ in range(3):
        at.until(lambda: True)
    assert at.ended == []
    other.kill()
    at.until(lambda: len(at.ended) == 2)
    assert [worker.ended.kind for worker in at.ended if worker.ended] == [EndKind.NOT_PLACED] * 2


def test_a_worker_sees_the_gpus_that_it_is_given_before_anything_of_cuda_starts(at: Local) -> None:
    worker = at.engine.spawn(
        "devices", [at.job()], None, at._on_message, at.ended.append, ahead=True, devices=["GPU-1", "GPU-2"]
    )
    at.until(lambda: worker.place)
    assert worker.pid is not None
    assert worker.place == Place(socket.gethostname(), "GPU-1,GPU-2")
    at.until(lambda: at.ended)
    assert worker.ended == Ended(EndKind.EXIT, "ended with status 0")
    (answer,) = at.messages
    assert set(answer["result"]) == {"uuids", "problem", "mps"}


def test_the_processes_of_a_worker_are_its_own_and_all_that_it_has_started(at: Local) -> None:
    worker = at.inspect()
    at.until(lambda: worker.pid)
    assert worker.pid is not None
    own = at.forked(99, os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        found = at.engine.owners([1, worker.pid, os.getpid(), child.pid, 2**22 + 1])
        assert found == {worker.pid: worker.id, os.getpid(): own.id, child.pid: own.id}
    finally:
        child.communicate()
    at.engine.workers.remove(own)
