"""The worker that is forked ahead and waits: it trains the next model to the same bytes, and ends with the others."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from publishing import publish_if_finished
from running import wait_until

from forge_tui.engines.base import WorkerHandle
from forge_tui.engines.local import LocalEngine, LocalWorker
from forge_tui.engines.output import Outputs
from forge_tui.protocol.job import Job
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location
from forge_tui.runs.lock import RunLock
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig, to_plain

TITLE = "forge-tui: spare worker (run)"
NICE = 3


class Launched:
    """A engine, its lock, and what its workers have told."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.lock = RunLock.acquire(base / "lock")
        self.selector = selectors.DefaultSelector()
        (base / "logs").mkdir()
        self.place = Location(base)
        self.outputs = Outputs(self.place.fileno(), 1 << 20)
        self.engine = LocalEngine(self.selector, self.lock, NICE, self.outputs)
        self.ended: list[LocalWorker] = []
        self.runs = 0
        self.messages: list[dict[str, Any]] = []

    def start(self, name: str, *, ahead: bool, epochs: int = 2) -> LocalWorker:
        """Start to train one model, in a run directory called `name`; return once its process is there."""
        self.runs += 1
        directory = RunDirectory(self.base / f"{self.runs}-{name}")
        directory.create()
        settings = Settings(
            training=TrainingConfig(model_size=2_000, epochs=epochs),
            data=DataSettings(samples=110, features=12, classes=4),
            run=RunSettings(output=str(directory.path)),
        )
        job = Job(
            run="run", directory=str(directory.path), working_directory=str(self.base), model="cognate_planner_1",
            index=1, attempt=1, seed=7, settings=to_plain(settings), threads=1, device="cpu",
        )  # fmt: skip
        worker = self.engine.spawn(
            "train",
            [job],
            "log",
            self._take,
            self.ended.append,
            ahead=ahead,
        )
        self.until(lambda: worker.pid is not None)
        return worker

    def _take(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        self.messages.append(message)
        publish_if_finished(worker, message)

    def train(self, name: str, *, ahead: bool) -> bytes:
        """Train one model to its end; its weights."""
        worker = self.start(name, ahead=ahead)
        self.until(lambda: worker in self.ended)
        assert worker.status == 0, (self.base / "logs" / "log.log").read_text(encoding="utf-8")
        return (self.base / f"{self.runs}-{name}" / "cognate_planner_1.safetensors").read_bytes()

    def until(self, condition: Callable[[], object]) -> None:
        """Do what the runner does until something is so."""

        def look() -> object:
            for key, _ in self.selector.select(0.01):
                key.data()
            self.engine.tick()
            return condition()

        wait_until(look, "the engine's news", 60.0)

    def server(self) -> psutil.Process:
        """The fork server."""
        process = self.engine._process
        assert process is not None
        return psutil.Process(process.pid)

    def spares(self) -> list[psutil.Process]:
        """The processes that wait for models and have made themselves ready so far as to have their title."""
        found = []
        for child in self.server().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline()[:1] == [TITLE] and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found

    def spare(self) -> psutil.Process:
        """The one that waits."""
        (spare,) = wait_until(self.spares, "a spare worker", 60.0)
        return spare


@contextlib.contextmanager
def launch(base: Path) -> Iterator[Launched]:
    made = Launched(base)
    yield made
    made.engine.close()
    made.outputs.close()
    made.place.close()
    made.lock.release()
    made.selector.close()


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    """An engine for a test that ends its fork server."""
    with launch(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """An engine for the tests that leave its fork server as it is."""
    with launch(tmp_path_factory.mktemp("kept")) as made:
        yield made


@pytest.fixture
def shared(kept: Launched) -> Launched:
    """That one, without a spare worker: what a test before has left is used up."""
    kept.train("last", ahead=False)
    assert kept.server().children() == []
    kept.ended.clear()
    kept.messages.clear()
    return kept


def test_the_next_worker_is_the_one_forked_ahead_and_there_is_never_more_than_was_asked_for(shared: Launched) -> None:
    shared.train("first", ahead=False)
    assert shared.server().children() == []
    shared.train("second", ahead=True)
    spare = shared.spare()
    assert spare.nice() == NICE
    worker = shared.start("third", ahead=False)
    assert worker.pid == spare.pid
    shared.until(lambda: worker in shared.ended)
    assert shared.server().children() == []


def test_a_worker_forked_ahead_trains_the_same_bytes(shared: Launched) -> None:
    assert shared.train("fresh", ahead=True) == shared.train("spare", ahead=False)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell what is open")
@pytest.mark.parametrize("name", ["fresh", "spare"])
def test_a_worker_has_one_socket_and_its_output_and_nothing_of_the_fork_servers(name: str, shared: Launched) -> None:
    if name == "spare":
        shared.train("first", ahead=True)
        shared.messages.clear()
    worker = shared.start(name, ahead=False, epochs=1_000_000)
    shared.until(lambda: shared.messages)  # it has settled in
    opened = {int(entry.name): os.readlink(entry) for entry in Path(f"/proc/{worker.pid}/fd").iterdir()}
    pipe = os.readlink(f"/proc/self/fd/{worker.output.descriptor}")
    worker.kill()
    assert sum(target.startswith("socket:") for target in opened.values()) == 1
    assert {number for number, target in opened.items() if target.startswith("pipe:")} == {1, 2}
    assert opened[1] == opened[2] == pipe


def test_a_spare_that_was_killed_is_replaced_and_costs_no_model_an_attempt(shared: Launched) -> None:
    shared.train("first", ahead=True)
    spare = shared.spare()
    spare.kill()
    wait_until(lambda: not spare.is_running(), "the fork server reaps it", 60.0)
    shared.train("second", ahead=False)
    assert [worker.status for worker in shared.ended] == [0, 0]


def test_a_spare_holds_the_lock_and_ends_with_its_fork_server(launched: Launched) -> None:
    launched.train("first", ahead=True)
    spare, server = launched.spare(), launched.server()
    assert any(Path(file.path) == launched.lock.path for file in spare.open_files())
    server.kill()
    wait_until(lambda: not spare.is_running() or spare.status() == psutil.STATUS_ZOMBIE, "its end", 60.0)


def test_a_spare_ends_with_the_engine_before_the_lock_is_free(launched: Launched) -> None:
    launched.train("first", ahead=True)
    spare = launched.spare()
    launched.engine.close()
    assert not spare.is_running()
    launched.lock.release()
    with (launched.base / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
